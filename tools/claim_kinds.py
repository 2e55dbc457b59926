"""Kinds of verdicts of claims in quick form, for tools/mutants.py, which gives it a copy of the
package to import.

Usage::

    python tools/claim_kinds.py [--workers N] [MODULE:]ID...

The last line is JSON: identifier -> {module, kind, recorded, seconds, trouble}. An error inside a
claim is no verdict: its kind is then null and `trouble` says what was raised. MODULE is the source
of `eigenloop.claims.sources.SOURCES` that has the claim; with it no other one is imported. Ends
with status 70 where the package that it imports does not lie in the folder of the environment
variable MUTANTS_SOURCE.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

GUARD_EXIT = 70


def alone(entry: Any, effort: Any) -> dict[str, Any]:
    """What one claim gives, measured in this process."""
    began, kind, trouble = time.monotonic(), None, None
    try:
        kind = entry.claim.run(effort).finding.kind
    except Exception as error:  # whatever broken code raises
        trouble = f"{type(error).__name__}: {error}"
    return {"kind": kind, "seconds": time.monotonic() - began, "trouble": trouble}


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description="Kinds of verdicts of claims, as JSON.")
    parser.add_argument("claims", nargs="+", metavar="[MODULE:]ID")
    parser.add_argument(
        "--workers", type=int, help="processes to share them between (default: this one)"
    )
    options = parser.parse_args()

    import eigenloop
    from eigenloop.claims import Effort
    from eigenloop.claims.measuring import measure
    from eigenloop.claims.sources import SOURCES, collect
    from eigenloop.system.cache import ignore_damaged_programs

    ignore_damaged_programs()
    home, wanted = Path(eigenloop.__file__).resolve(), os.environ.get("MUTANTS_SOURCE")
    if wanted and not home.is_relative_to(Path(wanted).resolve()):
        print(f"eigenloop is imported from {home}, not from the copy", file=sys.stderr)
        return GUARD_EXIT
    named = [name.rpartition(":")[::2] for name in options.claims]
    modules, ids = {module for module, _ in named} - {""}, [id for _, id in named]
    every = {
        entry.claim.id: entry
        for entry in collect([s for s in SOURCES if not modules or s.module in modules])
    }
    unknown = sorted(set(ids) - every.keys())
    if unknown:
        print(f"no such claim: {', '.join(unknown)}", file=sys.stderr)
        return 2
    entries, effort = [every[id] for id in ids], Effort(quick=True)
    if options.workers:
        results = measure(entries, effort, workers=options.workers).results
        found = [{"kind": r.finding.kind, "seconds": r.seconds, "trouble": None} for r in results]
    else:
        found = [alone(entry, effort) for entry in entries]
    about = [
        {"module": entry.source.module, "recorded": entry.claim.expected_verdict}
        for entry in entries
    ]
    print(
        json.dumps({id: {**who, **what} for id, who, what in zip(ids, about, found, strict=True)})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
