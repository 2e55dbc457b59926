"""The harness of mutants, tools/mutants.py, on a small tree and on cheap claims; the project's
own list and table.
"""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

FORMULA = '''"""A toy."""


def square_sum(a: float, b: float) -> float:
    """a^2 + b^2.

    >>> square_sum(3, 4)
    25
    """
    return a**2 + b**2


def unused(a: float) -> float:
    """-a."""
    return -a
'''

TESTS = """
from toy.formula import square_sum, unused

def test_values():
    assert square_sum(3, 4) == 25

def test_blind():
    assert square_sum(0, 0) == unused(0) == 0

def test_wrong():
    assert square_sum(3, 4) == 24
"""


def entry(
    name: str,
    *,
    old: str = "a**2 + b**2\n\n",
    new: str = "a**2 - b**2\n\n",
    file: str = "src/toy/formula.py",
    tests: str = "tests/test_toy.py::test_values",
) -> str:
    return (
        f"[[mutant]]\nname = '{name}'\nfile = '{file}'\nold = '''{old}'''\nnew = '''{new}'''\n"
        f"tests = ['{tests}']\nwhy = 'a sign'\n"
    )


def on_claims(
    name: str,
    *,
    claims: tuple[str, ...] = ("lemF.1",),
    new: str = "np.kron(r, eye) - np.kron(eye, r)",
) -> str:
    """A mutant of what lemF.1 measures."""
    old = "np.kron(r, eye) - np.kron(eye, r.T)"
    return (
        f"[[mutant]]\nname = '{name}'\nfile = 'src/eigenloop/numerics/rotations.py'\nold ="
        f" {old!r}\nnew = {new!r}\nclaims = {list(claims)!r}\nwhy = 'RA = AR^T'\n"
    )


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for folder in ("src/toy", "tests", "tools"):
        (root / folder).mkdir(parents=True)
    (root / "src/toy/__init__.py").write_text("")
    (root / "src/toy/formula.py").write_text(FORMULA)
    (root / "tests/test_toy.py").write_text(TESTS)
    (root / "pytest.ini").write_text("[pytest]\naddopts = --doctest-modules\n")
    return root


def harness(
    root: Path, *entries: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    if entries:
        (root / "tools/mutants.toml").write_text("\n".join(entries))
    command = [sys.executable, str(ROOT / "tools/mutants.py"), "--root", str(root), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def verdict(done: subprocess.CompletedProcess[str], name: str) -> str:
    """The line of the table about a mutant, with spaces collapsed."""
    _, _, table = done.stdout.partition("mutant  ")
    assert table, done.stdout + done.stderr
    (line,) = [line for line in table.splitlines() if line.startswith(f"{name} ")]
    return " ".join(line.split())


def test_caught_survived_and_broken_are_told_apart(toy: Path) -> None:
    before = {path: path.read_text() for path in toy.rglob("*.py")}
    blind = "tests/test_toy.py::test_blind"
    done = harness(
        toy,
        entry("by-a-test"),
        entry("by-a-doctest", tests="src/toy/formula.py"),
        entry("unnoticed", tests=blind),
        entry("undefined", new="a**2 - c**2\n\n"),
        entry("undefined-in-doctest", new="a**2 - c**2\n\n", tests="src/toy/formula.py"),
        entry("no-python", new="a**2 +\n\n"),
        entry("gone", old="a**3"),
        entry("twice", old="-"),
        entry("no-test", tests="tests/test_other.py"),
        options=("--jobs", "3"),
    )
    assert done.returncode == 1
    assert "by-a-test caught" in verdict(done, "by-a-test")
    assert verdict(done, "by-a-test").endswith("test_toy::test_values")
    assert "caught" in verdict(done, "by-a-doctest")
    assert "SURVIVED" in verdict(done, "unnoticed")
    assert "ERROR" in verdict(done, "undefined")
    assert "broken code: NameError" in verdict(done, "undefined")
    assert "broken code" in verdict(done, "undefined-in-doctest")
    assert "ERROR" in verdict(done, "no-python")
    assert "status 2" in verdict(done, "no-python") or "status 4" in verdict(done, "no-python")
    assert "occurs 0 times" in verdict(done, "gone")
    assert "occurs 4 times" in verdict(done, "twice")
    assert "no such test file" in verdict(done, "no-test")
    assert "2 of 9 caught" in done.stdout
    assert {path: path.read_text() for path in toy.rglob("*.py")} == before


def test_all_caught_is_success(toy: Path) -> None:
    done = harness(
        toy,
        entry("sign"),
        entry("unnoticed", tests="tests/test_toy.py::test_blind"),
        options=("--only", "sign"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 caught" in done.stdout


def test_nothing_is_concluded_when_the_unbroken_tree_fails(toy: Path) -> None:
    done = harness(toy, entry("sign", tests="tests/test_toy.py::test_wrong"))
    assert done.returncode == 2
    assert "fail on the unbroken tree" in done.stderr


def test_a_package_from_elsewhere_is_refused(toy: Path) -> None:
    """Tests that import another copy of the package would pass whatever is broken here."""
    (toy / "tests/conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(toy / 'src')!r})\n"
    )
    done = harness(toy, entry("sign"))
    assert done.returncode == 2
    assert "not from the copy" in done.stdout


def test_a_run_without_end_is_an_error(toy: Path) -> None:
    done = harness(
        toy,
        entry("endless", old="return a**2 + b**2", new="while True: pass"),
        options=("--timeout", "5"),
    )
    assert done.returncode == 1
    assert "ERROR" in verdict(done, "endless")
    assert "more than 5 s" in verdict(done, "endless")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold [[mutant]] tables"),
        ("[[mutant]]\nname = 'a'", "must name either tests or claims"),
        (entry("a") + "claims = ['lemF.1']\n", "must name either tests or claims"),
        (entry("a").replace("file =", "path ="), "missing or unknown keys: file, path"),
        (on_claims("a", claims=("lemF.1", "lemF.2", "lemF.4", "lemA.1")), "at most 3"),
        (entry("a", new="a**2 + b**2\n\n"), "old and new must differ"),
        (entry("a").replace("['tests/test_toy.py::test_values']", "[]"), "at least one"),
        (entry("a") + entry("a"), "names used twice: a"),
        ("[[mutant", "cannot read"),
    ],
)
def test_a_malformed_list_is_named(toy: Path, text: str, message: str) -> None:
    (toy / "tools/mutants.toml").write_text(text)
    done = harness(toy)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr


def test_an_unknown_name_is_refused(toy: Path) -> None:
    done = harness(toy, entry("sign"), options=("--only", "sing"))
    assert done.returncode == 2
    assert "no mutant is named sing" in done.stderr


def test_every_mutant_of_this_project_fits_its_tree() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/mutants.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_claim_is_caught_by_another_kind_of_verdict_and_by_nothing_else(tmp_path: Path) -> None:
    """lemF.1 measures the formula that is broken, lemF.2.mean does not; an error in a claim is
    no verdict.
    """
    listed = tmp_path / "mutants.toml"
    same = "np.kron(r, eye) - 1 * np.kron(eye, r.T)"
    entries = [
        on_claims("broken"),
        on_claims("half", claims=("lemF.1", "lemF.2.mean")),
        on_claims("same", new=same),
        on_claims("raises", new="np.kron(r, eye) - np.ones(0)"),
        on_claims("undefined", new="np.kron(r, unknown)"),
    ]
    listed.write_text("\n".join(entries))
    done = harness(ROOT, options=("--mutants", str(listed)))
    assert done.returncode == 1, done.stderr
    assert verdict(done, "broken").endswith("lemF.1 fails")
    assert "caught" in verdict(done, "broken")
    assert verdict(done, "half").endswith("as recorded: lemF.2.mean")
    for name in ("half", "same"):
        assert "SURVIVED" in verdict(done, name)
    assert "ERROR" in verdict(done, "raises")
    assert "raised in lemF.1: ValueError" in verdict(done, "raises")
    assert "NameError" in verdict(done, "undefined")
    assert "1 of 5 caught" in done.stdout


def test_a_claim_that_is_none_is_named(tmp_path: Path) -> None:
    listed = tmp_path / "mutants.toml"
    listed.write_text(on_claims("a", claims=("lemF.9",)))
    done = harness(ROOT, options=("--mutants", str(listed)))
    assert done.returncode == 2
    assert "no such claim: lemF.9" in done.stdout
    assert "nothing can be concluded" in done.stderr


@pytest.fixture(scope="module")
def table() -> ModuleType:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module("mutant_table")
    finally:
        sys.path.remove(str(ROOT / "tools"))


def test_every_claim_has_a_mutant_in_the_code_under_it_and_none_stands_for_many(
    table: ModuleType,
) -> None:
    mutants, known = table.read_mutants(ROOT / "tools" / "mutants.toml"), table.claims()
    assert {claim.id for claim in known} == set(table.by_claim(mutants))
    assert table.out_of_bounds(mutants, known) == []
    assert table.crowded(mutants) == {}


def test_what_may_not_be_broken_under_a_claim(table: ModuleType) -> None:
    def on(file: str, **others: str):
        fields = {
            "name": file,
            "file": file,
            "old": "a",
            "new": "b",
            "why": "",
            "claims": ("lemF.1",),
            **others,
        }
        return table.Mutant(**fields)

    refused = [
        "src/eigenloop/theory/claims/tested.py",
        "src/eigenloop/figures/sentences.py",
        "tests/test_lemmas.py",
        "src/eigenloop/steer/claims.py",
        "src/eigenloop/lens/cases/uniform.py",
        "src/eigenloop/data/README.md",
    ]
    assert (
        table.out_of_bounds(
            [on(file) for file in (*refused, "src/eigenloop/theory/bounds.py")], table.claims()
        )
        == refused
    )
    four = [on("src/eigenloop/theory/bounds.py", name=str(i)) for i in range(4)]
    assert table.crowded(four[:3]) == {}
    assert table.crowded(four) == {("src/eigenloop/theory/bounds.py", "a"): 4}


def test_the_table_of_the_docs_is_that_of_the_list(table: ModuleType) -> None:
    mutants = table.read_mutants(ROOT / "tools" / "mutants.toml")
    # the claims of one ledger stand in the order in which its modules were imported: here, that of
    # the tests before
    written, made = table.PAGE.read_text(), table.page(mutants, table.claims())
    assert sorted(written.splitlines()) == sorted(made.splitlines()), (
        "run python tools/mutant_table.py"
    )
