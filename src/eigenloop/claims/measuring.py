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

import numpy as np

from eigenloop import __version__
from eigenloop.claims.journal import Kept
from eigenloop.claims.ledger import Claim, Effort, Finding, Kind, Ledger, Provenance, Result
from eigenloop.system import interrupts
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent
from eigenloop.system.wording import joined
from eigenloop.system.workers import gather, processes, work_alone

KINDS: tuple[Kind, ...] = ("holds", "holds only", "fails", "not run")
OF_PAPERS: tuple[Provenance, ...] = ("stated", "reconstructed", "figure")
PROVENANCES: tuple[Provenance, ...] = (*OF_PAPERS, "ours")
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


@dataclass(frozen=True)
class Results:
    """What was measured, in the order of the ledgers.

    Args:
        results: one for each claim.
        effort: what they were measured with.
        seconds: from the start to the end, several at a time.
    """

    results: tuple[Result, ...]
    effort: Effort
    seconds: float

    @property
    def as_expected(self) -> bool:
        """Whether every verdict is the one recorded in the package."""
        return all(result.as_expected for result in self.results)

    @property
    def unexpected(self) -> tuple[Result, ...]:
        """Those with another verdict than the recorded one."""
        return tuple(result for result in self.results if not result.as_expected)

    def count(self, kind: Kind, *provenances: Provenance) -> int:
        """How many verdicts begin like this; of claims of these provenances, or of all."""
        return sum(
            result.finding.kind == kind
            and (not provenances or result.claim.provenance in provenances)
            for result in self.results
        )

    @property
    def counts(self) -> dict[Provenance, dict[Kind, int]]:
        """Provenance -> verdict -> how many; ours are never added to the papers'."""
        return {whose: {kind: self.count(kind, whose) for kind in KINDS} for whose in PROVENANCES}

    @property
    def summary(self) -> str:
        """The verdicts on the papers' statements, those on eigenloop's own, and whether they are
        the recorded ones.
        """
        if not self.results:
            return "There was no claim to measure."
        sentences = [
            self._counted("statement of the papers", *OF_PAPERS),
            self._counted("claim of eigenloop's own", "ours"),
        ]
        found = " ".join(filter(None, sentences))
        if self.as_expected:
            return f"{found} Every verdict is the one recorded in the package."
        ids = [
            f"{r.claim.id} ({r.finding.kind}, recorded: {r.claim.expected_verdict})"
            for r in self.unexpected
        ]
        return f"{found} Not as recorded: {joined(ids)}."

    def _counted(self, noun: str, *provenances: Provenance) -> str:
        """One sentence on the claims of some provenances; empty where there is none."""
        words = {
            "holds": "as stated",
            "holds only": "in a narrower or different form",
            "fails": "as stated",
            "not run": "here",
        }
        verbs = {
            "holds": ("holds", "hold"),
            "holds only": ("holds only", "hold only"),
            "fails": ("fails", "fail"),
            "not run": ("was not run", "were not run"),
        }
        counted = {kind: self.count(kind, *provenances) for kind in KINDS}
        total = sum(counted.values())
        parts = [f"{n} {verbs[kind][n != 1]} {words[kind]}" for kind, n in counted.items() if n]
        first, *rest = noun.split()
        plural = noun if total == 1 else " ".join([f"{first}s", *rest])
        return f"Of {total} {plural}, {joined(parts)}." if total else ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: no NaN or infinity, None with a reason."""
        return {
            "claims": [_plain_result(result) for result in self.results],
            "quick": self.effort.quick,
            "as_expected": self.as_expected,
            "counts": self.counts,
            "summary": self.summary,
            "version": __version__,
            "seed": self.effort.seed,
            "seconds": self.seconds,
        }


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


def plain(value: Any) -> Any:
    """A claim's value as JSON takes it: lists, Python's numbers, None for what is not finite."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, np.ndarray | Sequence):
        return [plain(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if np.isfinite(value) else None


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


def _plain_result(result: Result) -> dict[str, Any]:
    claim, finding = result.claim, result.finding
    values = {
        "measured": finding.measured,
        "expected": finding.expected,
        "tolerance": finding.tolerance,
    }
    reasons = {
        name: _why_none(name, value, finding)
        for name, value in values.items()
        if plain(value) is None
    }
    lost = {
        name: "not finite"
        for name, value in finding.numbers.items()
        if value is not None and _holes(value)
    }
    return {
        "id": claim.id,
        "source": claim.source,
        "provenance": claim.provenance,
        "quote": claim.quote,
        "statement": claim.statement,
        **{name: plain(value) for name, value in values.items()},
        "justification": finding.justification,
        "verdict": result.verdict,
        "expected_verdict": claim.expected_verdict,
        "as_expected": result.as_expected,
        "seconds": result.seconds,
        "numbers": {name: plain(value) for name, value in finding.numbers.items()},
        "reasons": {**reasons, **lost},
    }


def _why_none(name: str, value: Any, finding: Finding) -> str:
    if finding.kind == "not run":
        return finding.note or "not run"
    if value is not None:
        return "not finite"
    return (
        finding.justification or f"the claim has no {name}"
        if name == "tolerance"
        else "not a single value"
    )


def _holes(value: Any) -> bool:
    found = plain(value)
    return found is None or (isinstance(found, list) and None in found)
