"""Measuring the claims of every wing: which there are, a choice of them, and what came out.

    claims = select(collect(), "thm4.1,lemA.4")
    results = measure(claims, Effort(quick=True))

A wing that is not installed says so in place of a verdict; an error inside a claim is a bug and
ends the run.
"""

import importlib
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from eigenloop.claims.journal import Kept
from eigenloop.claims.ledger import Claim, Effort, Finding, Ledger, Result
from eigenloop.claims.results import Results
from eigenloop.system import interrupts
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent
from eigenloop.system.workers import gather, processes, work_alone

NEAREST = 5
"""Names that are offered for one that is none."""


@dataclass(frozen=True)
class Source:
    """A module that holds ledgers.

    Args:
        module: its full name; skipped where this version of the package has no such module.
        extra: the optional dependencies that it or its claims may need.
    """

    module: str
    extra: str | None = None


SOURCES: tuple[Source, ...] = (
    Source("eigenloop.theory.claims.theorems"),
    Source("eigenloop.theory.claims.power_method"),
    Source("eigenloop.theory.claims.lemmas"),
    Source("eigenloop.figures.claims"),
    Source("eigenloop.theory.claims.stability"),
    Source("eigenloop.theory.claims.training"),
    Source("eigenloop.theory.claims.optimisers"),
    Source("eigenloop.loops.claims"),
    Source("eigenloop.lens.cases.uniform", extra="lens"),
    Source("eigenloop.lens.text.claims", extra="lens"),
    Source("eigenloop.steer.claims", extra="lens"),
)
"""Where claims are looked for, in this order."""


@dataclass(frozen=True)
class Entry:
    """A claim, and the source that another process finds it in."""

    claim: Claim
    source: Source


def collect(sources: Sequence[Source] | None = None) -> list[Entry]:
    """Every claim of every source (all of `SOURCES` by default), in order.

    A source whose optional dependencies are missing gives one entry that stands for all its claims
    and is not run.

    Raises:
        ValueError: two claims with one identifier.
    """
    found: list[Entry] = []
    for source in SOURCES if sources is None else sources:
        try:
            claims = _claims(source.module)
        except ModuleNotFoundError as error:
            if f"{source.module}.".startswith(f"{error.name}."):
                continue
            if not _is_missing_extra(error, source):
                raise
            claims = [_stand_in(source)]
        found += [Entry(claim, source) for claim in claims]
    ids = [entry.claim.id for entry in found]
    twice = sorted({id for id in ids if ids.count(id) > 1})
    if twice:
        raise ValueError(f"claim {twice[0]!r} is written in two modules")
    return found


def select(entries: Sequence[Entry], only: str | None) -> list[Entry]:
    """Those that `only` names: identifiers or their beginnings, separated by commas; a number must
    be whole.

    Args:
        entries: as from `collect`.
        only: "thm4.1,lemA.4.sign", in upper or lower case; None for all.

    Raises:
        InputError: a name that fits no claim; gives the nearest ones.

    Example:
        >>> nothing = lambda effort: None
        >>> some = [
        ...     Claim(id, "", "", nothing, "ours")
        ...     for id in ("thm4.1.rate", "thm4.10", "fig2.losses", "fig2b.ln")
        ... ]
        >>> demo = [Entry(claim, Source("demo")) for claim in some]
        >>> [entry.claim.id for entry in select(demo, "thm4.1, Fig2.")]
        ['thm4.1.rate', 'fig2.losses', 'fig2b.ln']
    """
    if only is None:
        return list(entries)
    asked = names_of(only)
    if not asked:
        raise InputError(
            f"--only is {only!r}; give claims separated by commas, e.g. thm4.1, or leave it out"
        )
    known = [entry.claim.id for entry in entries]
    for name in asked:
        if not any(_names(name, id) for id in known):
            raise InputError(
                f"--only names {name!r}, which begins no claim's name; {_near(name, known)}"
            )
    return [entry for entry in entries if any(_names(name, entry.claim.id) for name in asked)]


def names_of(only: str) -> list[str]:
    """The names in a choice, as they are compared: lower case, no dot at the end.

    Example:
        >>> names_of("thm4.1, Fig2.,")
        ['thm4.1', 'fig2']
    """
    names = (name.strip().rstrip(".").lower() for name in only.split(","))
    return list(dict.fromkeys(name for name in names if name))


def measure(
    entries: Sequence[Entry],
    effort: Effort,
    progress: Progress = silent,
    *,
    workers: int | None = None,
    kept: Kept | None = None,
) -> Results:
    """Measure claims, in order.

    Args:
        entries: which.
        effort: quick or whole, and the seed.
        progress: told how many claims are measured.
        workers: processes to share them between, each with one thread; None measures in this one. A
            script that asks for processes needs the usual `if __name__ == "__main__":`.
        kept: findings of an earlier start, of the same effort, which are not measured again; new
            ones are added.

    Raises:
        RuntimeError: an error inside a claim, which it names.
        InputError: a process was killed.
    """
    began = time.monotonic()
    found = (
        {}
        if kept is None
        else {
            entry.claim.id: kept.found[entry.claim.id]
            for entry in entries
            if entry.claim.id in kept.found
        }
    )
    rest = [entry for entry in entries if entry.claim.id not in found]

    def keep(entry: Entry, finding: Finding, seconds: float) -> None:
        # what it lacked may be installed next time
        if kept is not None and finding.kind != "not run":
            kept.add(entry.claim.id, finding, seconds)
            finding, seconds = kept.found[entry.claim.id]
        found[entry.claim.id] = finding, seconds
        progress("claims", len(found), len(entries))

    progress("claims", len(found), len(entries))
    if workers is None:
        for entry in rest:
            interrupts.check()
            keep(entry, *_measured(entry.claim, entry.source, effort))
    elif rest:
        _measure_apart(rest, effort, keep, max(1, min(workers, len(rest))))
    results = tuple(Result(entry.claim, *found[entry.claim.id]) for entry in entries)
    return Results(results, effort, time.monotonic() - began)


def _measure_apart(
    entries: Sequence[Entry],
    effort: Effort,
    keep: Callable[[Entry, Finding, float], None],
    workers: int,
) -> None:
    """In processes: a claim is found there by its source and identifier, for functions do not
    travel.
    """
    stop = multiprocessing.get_context("spawn").Event()
    with processes(workers, work_alone, stop) as pool:
        futures = {
            pool.submit(
                _measure_found, [entry.claim.id for entry in task], task[0].source, effort
            ): task
            for task in _tasks(entries)
        }

        def ended(future: Future[Any]) -> None:
            # raises what a claim raised
            for entry, measured in zip(futures[future], future.result(), strict=True):
                keep(entry, *measured)

        try:
            gather(futures, ended)
        except BrokenProcessPool:
            raise InputError(
                "a process measuring claims was killed (is there enough memory?); try again"
            ) from None
        except BaseException:
            stop.set()  # nobody waits for what is still being measured
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _tasks(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Claims that judge one run together, and first; then each of the others by itself, the last
    modules first.

    The theorems and lemmas, which come first in the list, take milliseconds: at the end they fill
    what is left of every process's time.
    """
    tasks: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        run = entry.claim.shared_run
        tasks.setdefault(
            (entry.source.module, f"run {run}" if run else f"claim {entry.claim.id}"), []
        ).append(entry)
    modules = list(dict.fromkeys(entry.source.module for entry in entries))
    return sorted(
        tasks.values(), key=lambda task: (-len(task), -modules.index(task[0].source.module))
    )


def _measure_found(
    ids: Sequence[str], source: Source, effort: Effort
) -> list[tuple[Finding, float]]:
    claims = {entry.claim.id: entry.claim for entry in collect([source])}
    return [_measured(claims[id], source, effort) for id in ids]


def _measured(claim: Claim, source: Source, effort: Effort) -> tuple[Finding, float]:
    began = time.monotonic()
    try:
        found = claim.run(effort)
    except Exception as error:  # whatever a claim raises, the message names the claim
        if _is_missing_extra(error, source):
            return _not_run(source), time.monotonic() - began
        # also what a user's bad input would raise: here it is none
        raise RuntimeError(f"claim {claim.id} broke: {type(error).__name__}: {error}") from error
    return _portable(found.finding), found.seconds


def _portable(finding: Finding) -> Finding:
    """Without read-only views of mappings and the like, which do not travel between processes."""
    return replace(finding, numbers=dict(finding.numbers))


def _claims(module: str) -> list[Claim]:
    """What the ledgers of a module hold."""
    found = vars(importlib.import_module(module)).values()
    ledgers = {id(value): value for value in found if isinstance(value, Ledger)}
    return [claim for ledger in ledgers.values() for claim in ledger.claims]


def _is_missing_extra(error: Exception, source: Source) -> bool:
    ours = (
        isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "eigenloop"
    )
    return isinstance(error, ModuleNotFoundError) and source.extra is not None and not ours


def _not_run(source: Source) -> Finding:
    return Finding("not run", None, None, note=f"needs eigenloop[{source.extra}]")


def _stand_in(source: Source) -> Claim:
    name = source.module.removeprefix("eigenloop.")
    return Claim(
        name,
        f"The claims of {source.module}.",
        source.module,
        lambda effort: _not_run(source),
        "ours",
    )


def _names(name: str, id: str) -> bool:
    rest = id.lower().removeprefix(name)
    begins = len(rest) == len(id) - len(name)
    # thm4.1 is not the beginning of thm4.10
    return begins and not (name[-1].isdigit() and rest[:1].isdigit())


def _near(name: str, known: Sequence[str]) -> str:
    """The names that one may have meant: the nearest identifiers and groups, or else all groups."""
    if not known:
        return "this version holds no claims"
    groups = list(dict.fromkeys(id.rpartition(".")[0] or id for id in known))
    spelled = {word.lower(): word for word in [*groups, *known]}
    found = get_close_matches(name, spelled, n=NEAREST, cutoff=0.7)
    return (
        f"nearest are {', '.join(spelled[word] for word in found)}"
        if found
        else f"known are {', '.join(groups)}"
    )
