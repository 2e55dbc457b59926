"""Measuring the claims of every wing, in this process or side by side.

    claims = select(collect(), "thm4.1,lemA.4")
    results = measure(claims, Effort(quick=True))

A wing that is not installed says so in place of a verdict; an error inside a claim is a bug and
ends the run.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

from eigenloop.claims.journal import Kept
from eigenloop.claims.ledger import Claim, Effort, Finding, Result
from eigenloop.claims.results import Results
from eigenloop.claims.sources import Entry, Source, collect, is_missing_extra, not_run
from eigenloop.system import interrupts
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent
from eigenloop.system.workers import context, gather, processes, work_alone


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
    stop = context().Event()
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
        if is_missing_extra(error, source):
            return not_run(source), time.monotonic() - began
        # also what a user's bad input would raise: here it is none
        raise RuntimeError(f"claim {claim.id} broke: {type(error).__name__}: {error}") from error
    return _portable(found.finding), found.seconds


def _portable(finding: Finding) -> Finding:
    """Without read-only views of mappings and the like, which do not travel between processes."""
    return replace(finding, numbers=dict(finding.numbers))
