"""Break one formula at a time and see whether the tests notice.

Each mutant of ``tools/mutants.toml`` replaces one piece of text in one file. For each, the tree is copied
into a temporary folder, the replacement made there, and the tests that the mutant names are run against the
copy. A mutant is caught when one of them fails. It survives when all pass: then the suite does not pin that
formula. Anything else (text that is no longer there, a test that cannot be collected, broken code instead of
a wrong formula, a run without end) is an error of the list, and counts against it as a survivor does.

Usage::

    python tools/mutants.py [--only NAME]... [--jobs 2] [--check] [--list]

Exit status: 0 when every mutant was caught, 1 when one was not, 2 when nothing could be concluded (the list
is malformed, or the named tests fail on the unbroken tree).
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields
from pathlib import Path

NOT_COPIED = (".git", ".venv", "runs", "build", "dist", "__pycache__", ".*_cache", ".hypothesis")

BROKEN_CODE = re.compile(
    r"(?:UNEXPECTED EXCEPTION: )?(?:Name|UnboundLocal|Syntax|Indentation|Import|ModuleNotFound)Error"
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
            pytest.exit(f"{{name}} is imported from {{file}}, not from the copy", returncode={GUARD_EXIT})
'''


class ListError(Exception):
    """The list of mutants cannot be used as it stands."""


@dataclass(frozen=True)
class Mutant:
    """One replacement and the tests that must notice it.

    Attributes:
        name: unique, for ``--only`` and the table.
        file: the file to break, relative to the root of the tree.
        old: the text to replace; it occurs in the file exactly once.
        new: what to put in its place.
        tests: pytest node ids or paths, relative to the root.
        why: what is broken, in words.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    why: str

    def mutated(self, root: Path) -> str:
        """Text of the file under ``root`` with the replacement made.

        Raises:
            ListError: the file is missing, or ``old`` does not occur in it exactly once.
        """
        path = root / self.file
        if not path.is_file():
            raise ListError(f"there is no file {self.file}")
        text = path.read_text(encoding="utf-8")
        count = text.count(self.old)
        if count != 1:
            raise ListError(f"the old text occurs {count} times in {self.file}; it must occur exactly once")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant: ``verdict`` is caught, SURVIVED or ERROR; ``detail`` says by what."""

    mutant: Mutant
    verdict: str
    detail: str
    seconds: float = 0.0


def read_mutants(path: Path) -> list[Mutant]:
    """Mutants of a TOML file with an array of tables ``[[mutant]]``.

    Raises:
        ListError: the file is no such list; the message names the entry and the key.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ListError(f"cannot read {path}: {error}") from error
    entries = document.get("mutant")
    if document.keys() != {"mutant"} or not isinstance(entries, list) or not entries:
        raise ListError(f"{path} must hold [[mutant]] tables and nothing else")
    keys = {field.name for field in fields(Mutant)}
    mutants: list[Mutant] = []
    for number, entry in enumerate(entries, start=1):
        where = f"mutant {number} ({entry.get('name', 'without a name')})"
        if entry.keys() != keys:
            wrong = ", ".join(sorted(entry.keys() ^ keys))
            raise ListError(f"{where}: missing or unknown keys: {wrong}")
        tests = entry.pop("tests")
        if not all(isinstance(value, str) for value in entry.values()):
            raise ListError(f"{where}: every key but tests is a string")
        if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
            raise ListError(f"{where}: tests must be a list with at least one pytest node id or path")
        if not entry["old"] or entry["old"] == entry["new"]:
            raise ListError(f"{where}: old and new must differ, and old must not be empty")
        mutants.append(Mutant(tests=tuple(tests), **entry))
    names = [mutant.name for mutant in mutants]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ListError(f"names used twice: {', '.join(repeated)}")
    return mutants


def stale(mutant: Mutant, root: Path) -> str | None:
    """Why a mutant no longer fits the tree, or None when it does."""
    try:
        mutant.mutated(root)
    except ListError as error:
        return str(error)
    missing = [test for test in mutant.tests if not (root / test.partition("::")[0]).exists()]
    return f"no such test file: {', '.join(missing)}" if missing else None


def copy_tree(root: Path, target: Path) -> None:
    """Copy what the tests may need, so everything but caches, environments and results."""
    shutil.copytree(root, target, ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True)


def run_pytest(
    tree: Path, tests: tuple[str, ...], *, timeout: float | None
) -> tuple[int | None, str, list[tuple[str, str]]]:
    """Run tests inside a copy, importing the copy's packages and no installed ones.

    Returns:
        The exit status of pytest (None: it ran out of time), its output, and (test, message) per failure.
    """
    source = tree / "src"
    packages = [path.parent.name for path in source.glob("*/__init__.py")]
    guard = tree.with_name(tree.name + "-guard")
    guard.mkdir()
    (guard / "mutants_guard.py").write_text(GUARD, encoding="utf-8")
    report = guard / "report.xml"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {
        "CI": "true",  # property tests draw the same examples for every mutant
        "MUTANTS_PACKAGES": ",".join(packages),
        "MUTANTS_SOURCE": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(source), str(guard)]),
    }
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "mutants_guard", f"--junitxml={report}"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return None, output.decode(errors="replace") if isinstance(output, bytes) else output, []
    failures: list[tuple[str, str]] = []
    if report.is_file():
        for case in ElementTree.parse(report).iter("testcase"):
            for problem in (*case.findall("failure"), *case.findall("error")):
                in_doctest = re.search(r"^UNEXPECTED EXCEPTION: .*", problem.text or "", flags=re.MULTILINE)
                message = in_doctest.group() if in_doctest else problem.get("message", "").partition("\n")[0]
                failures.append((f"{case.get('classname')}::{case.get('name')}", message))
    return done.returncode, done.stdout, failures


def try_mutant(mutant: Mutant, root: Path, folder: Path, *, timeout: float) -> Outcome:
    """Break a fresh copy of the tree in ``folder`` and run the mutant's tests there."""
    start = time.perf_counter()
    tree = folder / mutant.name.replace(os.sep, "-")
    copy_tree(root, tree)
    (tree / mutant.file).write_text(mutant.mutated(root), encoding="utf-8")
    status, output, failures = run_pytest(tree, mutant.tests, timeout=timeout)
    verdict, detail = judge(status, output, failures, timeout=timeout)
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


def run(mutants: list[Mutant], root: Path, *, jobs: int, timeout: float) -> int:
    """Try every mutant, print the table, and return the exit status."""
    outcomes: dict[str, Outcome] = {}
    for mutant in mutants:
        problem = stale(mutant, root)
        if problem is not None:
            outcomes[mutant.name] = Outcome(mutant, "ERROR", problem)
    fitting = [mutant for mutant in mutants if mutant.name not in outcomes]
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        if fitting:
            tests = tuple(dict.fromkeys(test for mutant in fitting for test in mutant.tests))
            print(f"the unbroken tree: {len(tests)} tests or files of tests", flush=True)
            tree = folder / "unbroken"
            copy_tree(root, tree)
            status, output, _ = run_pytest(tree, tests, timeout=None)
            if status != 0:
                print(output)
                print("the named tests fail on the unbroken tree: nothing can be concluded", file=sys.stderr)
                return 2
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            broken = folder / "broken"
            started = [pool.submit(try_mutant, mutant, root, broken, timeout=timeout) for mutant in fitting]
            for number, future in enumerate(as_completed(started), start=1):
                outcome = future.result()
                outcomes[outcome.mutant.name] = outcome
                print(f"{number}/{len(started)} {outcome.mutant.name}: {outcome.verdict}", flush=True)
    ordered = [outcomes[mutant.name] for mutant in mutants]
    caught = sum(outcome.verdict == "caught" for outcome in ordered)
    print(f"\n{table(ordered)}\n\n{caught} of {len(ordered)} caught")
    return 0 if caught == len(ordered) else 1


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and return the exit status."""
    here = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description="Break one formula at a time; see if the tests notice.")
    parser.add_argument("--only", action="append", metavar="NAME", help="try this one only; may be repeated")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (default 2)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds per run of tests (default 600)")
    parser.add_argument("--check", action="store_true", help="only check that each still fits the tree")
    parser.add_argument("--list", action="store_true", help="only print the names and what each one breaks")
    parser.add_argument("--root", type=Path, default=here, help="the tree to break (default: this one)")
    parser.add_argument("--mutants", type=Path, help="the list (default: tools/mutants.toml under the root)")
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
        problems = [f"{m.name}: {problem}" for m in mutants if (problem := stale(m, root)) is not None]
        print("\n".join(problems) or f"{len(mutants)} mutants fit the tree")
        return 1 if problems else 0
    return run(mutants, root, jobs=options.jobs, timeout=options.timeout)


if __name__ == "__main__":
    sys.exit(main())
