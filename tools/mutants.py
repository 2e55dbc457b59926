"""Break one formula at a time and see whether the tests, or the claims, notice.

Each mutant of ``tools/mutants.toml`` replaces one piece of text in one file. For each, the tree is
copied into a temporary folder, the replacement made there, and the tests that the mutant names are
run against the copy. A mutant is caught when one of them fails. It survives when all pass: then the
suite does not pin that formula. Anything else (text that is no longer there, a test that cannot be
collected, broken code instead of a wrong formula, a run without end) is an error of the list, and
counts against it as a survivor does.

A mutant that names claims in place of tests is caught when the verdict of every one of them, in
quick form, is of another kind than the one recorded in the package. An error raised inside a claim
is no verdict, but an error of the list.

Usage::

    python tools/mutants.py [--only NAME]... [--jobs 2] [--check] [--list]

Exit status: 0 when every mutant was caught, 1 when one was not, 2 when nothing could be concluded
(the list is malformed, or the named tests fail, or the named claims differ, on the unbroken tree).
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutant_list import ListError, Mutant, read_mutants, stale

KINDS = Path(__file__).with_name("claim_kinds.py")
NOT_COPIED = (".git", ".venv", "runs", "build", "dist", ".*_cache", ".hypothesis")
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1"
)

BROKEN_CODE = re.compile(
    r"(?:UNEXPECTED EXCEPTION:"
    r" )?(?:Name|UnboundLocal|Syntax|Indentation|Import|ModuleNotFound)Error"
)
"""How a failure starts which says that the replacement is no formula at all."""

GUARD_EXIT = 70
GUARD = f'''
"""A pytest plugin: stops the run when the package under test is not the copy's."""
import importlib, os, pathlib, pytest

def pytest_collection_finish():
    source = pathlib.Path(os.environ["MUTANTS_SOURCE"]).resolve()
    for name in os.environ["MUTANTS_PACKAGES"].split(","):
        file = pathlib.Path(importlib.import_module(name).__file__).resolve()
        if not file.is_relative_to(source):
            where = f"{{name}} is imported from {{file}}, not from the copy"
            pytest.exit(where, returncode={GUARD_EXIT})
'''


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant: ``verdict`` is caught, SURVIVED or ERROR; ``detail`` says by
    what.
    """

    mutant: Mutant
    verdict: str
    detail: str
    seconds: float = 0.0


def copy_tree(root: Path, target: Path, *, compiled: bool = False) -> None:
    """Copy what the tests may need: all but caches, environments and results; `compiled` modules
    where asked for.
    """
    left_out = NOT_COPIED if compiled else (*NOT_COPIED, "__pycache__")
    shutil.copytree(root, target, ignore=shutil.ignore_patterns(*left_out), symlinks=True)


def broken_copy(mutant: Mutant, unbroken: Path, tree: Path) -> None:
    """A copy of the unbroken tree, with the modules that it has compiled, and the replacement
    made.
    """
    if mutant.claims:  # which read nothing but the package
        copy_tree(unbroken / "src", tree / "src", compiled=True)
    else:
        copy_tree(unbroken, tree, compiled=True)
    file = tree / mutant.file
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        compiled.unlink()
    file.write_text(mutant.mutated(unbroken), encoding="utf-8")


def environment(tree: Path, *others: Path, keep: bool) -> dict[str, str]:
    """For a Python that imports the copy's packages and no installed ones; whether it may `keep`
    compiled modules.
    """
    source = tree / "src"
    found = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    found |= {
        "MUTANTS_SOURCE": str(source),
        "PYTHONPATH": os.pathsep.join(map(str, (source, *others))),
    }
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found if keep else found | {"PYTHONDONTWRITEBYTECODE": "1"}


def run_python(
    arguments: list[str], tree: Path, variables: dict[str, str], *, timeout: float | None
) -> tuple[int | None, str]:
    """Exit status of Python in the copy (None: it ran out of time) and its output."""
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tree,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return None, output.decode(errors="replace") if isinstance(output, bytes) else output
    return done.returncode, done.stdout


def run_pytest(
    tree: Path, tests: tuple[str, ...], *, timeout: float | None, keep: bool = False
) -> tuple[int | None, str, list[tuple[str, str]]]:
    """Run tests inside a copy.

    Returns:
        The exit status of pytest (None: it ran out of time), its output, and (test, message) per
            failure.
    """
    packages = [path.parent.name for path in (tree / "src").glob("*/__init__.py")]
    guard = tree.with_name(tree.name + "-guard")
    guard.mkdir()
    (guard / "mutants_guard.py").write_text(GUARD, encoding="utf-8")
    report = guard / "report.xml"
    variables = environment(tree, guard, keep=keep) | {
        "CI": "true",  # property tests draw the same examples for every mutant
        "MUTANTS_PACKAGES": ",".join(packages),
    }
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "mutants_guard", f"--junitxml={report}"]
    status, output = run_python(
        ["-m", "pytest", *options, *tests], tree, variables, timeout=timeout
    )
    failures: list[tuple[str, str]] = []
    if report.is_file():
        for case in ElementTree.parse(report).iter("testcase"):
            for problem in (*case.findall("failure"), *case.findall("error")):
                in_doctest = re.search(
                    r"^UNEXPECTED EXCEPTION: .*", problem.text or "", flags=re.MULTILINE
                )
                message = (
                    in_doctest.group()
                    if in_doctest
                    else problem.get("message", "").partition("\n")[0]
                )
                failures.append((f"{case.get('classname')}::{case.get('name')}", message))
    return status, output, failures


def run_claims(
    tree: Path,
    claims: list[str],
    *,
    timeout: float | None,
    workers: int | None = None,
    keep: bool = False,
) -> tuple[int | None, str, dict[str, Any]]:
    """Measure claims in quick form inside a copy, in one process or in some `workers`.

    Args:
        tree: the copy.
        claims: MODULE:ID or ID each.
        timeout: seconds.
        workers: as for `tools/claim_kinds.py`.
        keep: compiled modules.

    Returns:
        The exit status, the output, and what was found of each claim.
    """
    variables = environment(tree, keep=keep) | ONE_THREAD | {"MPLBACKEND": "Agg"}
    variables.setdefault("JAX_PLATFORMS", "cpu")
    options = [] if workers is None else ["--workers", str(workers)]
    status, output = run_python([str(KINDS), *options, *claims], tree, variables, timeout=timeout)
    answers = [line for line in output.splitlines() if line.startswith("{")]
    return status, output, json.loads(answers[-1]) if status == 0 else {}


def try_mutant(
    mutant: Mutant, unbroken: Path, folder: Path, modules: dict[str, str], *, timeout: float
) -> Outcome:
    """Break a fresh copy of the tree in ``folder`` and run the mutant's tests, or measure its
    claims, there.
    """
    start = time.perf_counter()
    tree = folder / mutant.name.replace(os.sep, "-")
    broken_copy(mutant, unbroken, tree)
    if mutant.claims:
        named = [f"{modules[id]}:{id}" for id in mutant.claims]
        verdict, detail = judge_claims(*run_claims(tree, named, timeout=timeout), timeout=timeout)
    else:
        verdict, detail = judge(*run_pytest(tree, mutant.tests, timeout=timeout), timeout=timeout)
    shutil.rmtree(tree, ignore_errors=True)
    return Outcome(mutant, verdict, detail, time.perf_counter() - start)


def judge(
    status: int | None, output: str, failures: list[tuple[str, str]], *, timeout: float | None
) -> tuple[str, str]:
    """Verdict and detail from the end of a run of pytest."""
    if status == 0:
        return "SURVIVED", "every named test passed"
    if status is None:
        return "ERROR", f"the tests ran for more than {timeout:.0f} s"
    last = output.strip().rpartition("\n")[2].strip("= ")
    if status != 1 or not failures:
        return "ERROR", f"pytest ended with status {status}, which is no test failure: {last}"
    test, message = failures[0]
    if BROKEN_CODE.match(message):
        return "ERROR", f"the replacement is broken code: {message}"
    return "caught", test


def judge_claims(
    status: int | None, output: str, found: dict[str, Any], *, timeout: float | None
) -> tuple[str, str]:
    """Verdict and detail from what claims came to."""
    if status is None:
        return "ERROR", f"the claims took more than {timeout:.0f} s"
    if status != 0:
        last = output.strip().rpartition("\n")[2]
        return "ERROR", f"measuring ended with status {status}: {last}"
    raised = [f"{id}: {one['trouble']}" for id, one in found.items() if one["trouble"]]
    if raised:
        return "ERROR", f"no verdict, for an error was raised in {raised[0]}"
    blind = [id for id, one in found.items() if one["kind"] in (one["recorded"], "not run")]
    if blind:
        return "SURVIVED", f"as recorded: {', '.join(blind)}"
    return "caught", ", ".join(f"{id} {one['kind']}" for id, one in found.items())


def table(outcomes: list[Outcome]) -> str:
    """One line per mutant, aligned; what was broken under each one that was not caught."""
    width = max(len(outcome.mutant.name) for outcome in outcomes)
    lines = [f"{'mutant':<{width}}  verdict   seconds  by"]
    for outcome in outcomes:
        mutant = outcome.mutant
        result = f"{outcome.verdict:<8}  {outcome.seconds:7.1f}  {outcome.detail}"
        lines.append(f"{mutant.name:<{width}}  {result}")
        if outcome.verdict != "caught":
            lines.append(f"{'':<{width}}  {mutant.file}: {mutant.why}")
    return "\n".join(lines)


def try_unbroken(
    mutants: list[Mutant], tree: Path, *, jobs: int
) -> tuple[dict[str, str], str | None]:
    """Run every named test and measure every named claim on the unbroken tree, side by side.

    Returns:
        Claim -> module that has it; and why nothing can be concluded, or None.
    """
    tests = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    claims = list(dict.fromkeys(id for mutant in mutants for id in mutant.claims))
    print(
        f"the unbroken tree: {len(tests)} tests or files of tests, {len(claims)} claims", flush=True
    )
    found, problems = {}, []
    with ThreadPoolExecutor() as pool:
        workers = max(1, jobs - bool(tests))
        tested = pool.submit(run_pytest, tree, tests, timeout=None, keep=True) if tests else None
        measured = (
            pool.submit(run_claims, tree, claims, timeout=None, workers=workers, keep=True)
            if claims
            else None
        )
    if tested is not None and tested.result()[0] != 0:
        print(tested.result()[1])
        problems.append("the named tests fail on the unbroken tree")
    if measured is not None:
        status, output, found = measured.result()
        if status != 0:
            print(output)
            problems.append("the named claims cannot be measured on the unbroken tree")
        other = [
            f"{id} {one['kind']}" for id, one in found.items() if one["kind"] != one["recorded"]
        ]
        if other:
            problems.append(
                f"claims differ from their records on the unbroken tree ({', '.join(other)})"
            )
    return {id: one["module"] for id, one in found.items()}, "; ".join(problems) or None


def run(mutants: list[Mutant], root: Path, *, jobs: int, timeout: float) -> int:
    """Try every mutant, print the table, and return the exit status."""
    began, outcomes = time.perf_counter(), {}
    for mutant in mutants:
        problem = stale(mutant, root)
        if problem is not None:
            outcomes[mutant.name] = Outcome(mutant, "ERROR", problem)
    fitting = [mutant for mutant in mutants if mutant.name not in outcomes]
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        # a broken formula is another program, and every other one is compiled once for all mutants
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(name) / "compiled"))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        unbroken, broken, modules = Path(name) / "unbroken", Path(name) / "broken", {}
        if fitting:
            copy_tree(root, unbroken)
            modules, problem = try_unbroken(fitting, unbroken, jobs=jobs)
            if problem is not None:
                print(f"{problem}: nothing can be concluded", file=sys.stderr)
                return 2
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            started = [
                pool.submit(try_mutant, mutant, unbroken, broken, modules, timeout=timeout)
                for mutant in fitting
            ]
            for number, future in enumerate(as_completed(started), start=1):
                outcome = future.result()
                outcomes[outcome.mutant.name] = outcome
                print(
                    f"{number}/{len(started)} {outcome.mutant.name}: {outcome.verdict}", flush=True
                )
    ordered = [outcomes[mutant.name] for mutant in mutants]
    caught, seconds = (
        sum(outcome.verdict == "caught" for outcome in ordered),
        time.perf_counter() - began,
    )
    print(f"\n{table(ordered)}\n\n{caught} of {len(ordered)} caught, in {seconds:.0f} s")
    return 0 if caught == len(ordered) else 1


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and return the exit status."""
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(
        description="Break one formula at a time; see if the tests notice."
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="try this one only; may be repeated"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (default 2)")
    parser.add_argument(
        "--timeout", type=float, default=600, help="seconds per run of tests (default 600)"
    )
    parser.add_argument(
        "--check", action="store_true", help="only check that each still fits the tree"
    )
    parser.add_argument(
        "--list", action="store_true", help="only print the names and what each one breaks"
    )
    parser.add_argument(
        "--root", type=Path, default=here, help="the tree to break (default: this one)"
    )
    parser.add_argument(
        "--mutants", type=Path, help="the list (default: tools/mutants.toml under the root)"
    )
    options = parser.parse_args(arguments)
    root: Path = options.root.resolve()
    try:
        mutants = read_mutants(options.mutants or root / "tools" / "mutants.toml")
        if options.only:
            unknown = sorted(set(options.only) - {mutant.name for mutant in mutants})
            if unknown:
                raise ListError(f"no mutant is named {', '.join(unknown)}; --list prints the names")
            mutants = [mutant for mutant in mutants if mutant.name in options.only]
        if options.jobs < 1:
            raise ListError(f"--jobs is {options.jobs}; it must be at least 1")
    except ListError as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name}: {mutant.why} ({mutant.file})")
        return 0
    if options.check:
        problems = [
            f"{m.name}: {problem}" for m in mutants if (problem := stale(m, root)) is not None
        ]
        print("\n".join(problems) or f"{len(mutants)} mutants fit the tree")
        return 1 if problems else 0
    return run(mutants, root, jobs=options.jobs, timeout=options.timeout)


if __name__ == "__main__":
    sys.exit(main())
