"""Commands in other people's environments: they work as ever, or say in one line what stands in
the way.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eigenloop import cli
from eigenloop.cli.causes import known
from eigenloop.system.bars import bars
from eigenloop.system.errors import LONGEST, InputError, one_line

MAIN = "from eigenloop.cli import main; main()"
NOBODY = """
import pwd
def missing(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = missing
"""
"""A container's user: a number without an entry in the list of users (as sitecustomize.py)."""

RC = (
    "text.usetex: True\nbackend: Qt5Agg\nfont.family: fantasy\nsavefig.transparent:"
    " True\nfigure.dpi: 7\n"
)

PLACES = {
    "plain": {},
    "no user": {
        "HOME": None,
        "USER": None,
        "LOGNAME": None,
        "XDG_CACHE_HOME": None,
        "PYTHONPATH": "{here}/nobody",
    },
    "a home that is not there": {"HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent/cache"},
    "a home that cannot be written": {"HOME": "/proc", "XDG_CACHE_HOME": "/proc"},
    "a notebook": {
        "MPLBACKEND": "module://matplotlib_inline.not_here",
        "MATPLOTLIBRC": "{here}/rc",
    },
    "an unknown backend": {"MPLBACKEND": "canvas of clay"},
    "no LaTeX": {"MATPLOTLIBRC": "{here}/rc", "PATH": "/nonexistent"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "LC_ALL": "C"},
    "NaNs are errors": {"JAX_DEBUG_NANS": "1", "JAX_DEBUG_INFS": "1"},
    "64 bits": {"JAX_ENABLE_X64": "1"},
    "32 bits": {"JAX_ENABLE_X64": "0"},
    "a dumb terminal": {"TERM": "dumb", "NO_COLOR": "1"},
    "colours where no terminal is": {"FORCE_COLOR": "1", "COLUMNS": "20"},
    "warnings are errors": {"PYTHONWARNINGS": "error"},
}
"""What is set, and what is taken away (None)."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, a model, and the settings of others."""
    folder = tmp_path_factory.mktemp("environments")
    np.savetxt(
        folder / "table.csv",
        np.random.default_rng(0).random((40, 3)) * [3, 1, 1],
        delimiter=",",
        header="a,b,c",
    )
    transformers = pytest.importorskip(
        "transformers", reason="transformers is missing: pip install '.[lens]'"
    )
    config = transformers.GPT2Config(vocab_size=50, n_embd=32, n_layer=3, n_head=4, n_positions=32)
    transformers.GPT2Model(config).save_pretrained(folder / "model")
    (folder / "nobody").mkdir()
    (folder / "nobody" / "sitecustomize.py").write_text(NOBODY)
    (folder / "rc").write_text(RC)
    return folder


def environment(here: Path, changes: dict[str, str | None]) -> dict[str, str]:
    """That of this process without what tests set for themselves, with changes."""
    found = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MPLBACKEND", "PYTHONUTF8", "LC_ALL")
    }
    found |= {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(here / "cache")}
    for name, value in changes.items():
        found.pop(name, None)
        if value is not None:
            added = os.pathsep + os.environ.get("PYTHONPATH", "") if name == "PYTHONPATH" else ""
            found[name] = value.format(here=here) + added
    return found


def started(
    here: Path, changes: dict[str, str | None], *words: str, **options
) -> subprocess.CompletedProcess[bytes]:
    """A command as a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, *words],
        env=environment(here, changes),
        stdin=subprocess.DEVNULL,
        cwd=here,
        timeout=300,
        check=False,
        **{"capture_output": True, **options},
    )


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_every_command_works_in_every_environment(here: Path, place: str) -> None:
    commands = (
        ("theory", "--eigenvalues", "3,2,1"),
        ("predict", "table.csv", "--steps", "50"),
        ("train", "--dim", "4", "--samples", "8", "--steps", "20", "--out", f"train {place}"),
        ("lens", "model", "--out", f"lens {place}"),
        ("verify", "--only", "case.uniform", "--quick", "--out", f"verify {place}"),
    )
    for words in commands:
        # in which nothing is trained yet
        own = {
            "XDG_CACHE_HOME": str(here / f"cache {place}"),
            **PLACES[place],
        }
        done = started(here, own, *words)
        said = done.stderr.decode("utf-8", "replace")
        assert done.returncode == 0, said
        assert done.stdout
        for word in ("Traceback", "Warning", "error:", "Matplotlib"):
            assert word not in said
    assert not (here / "~").exists()
    for page in (f"lens {place}/report.html", f"verify {place}/verify-only.html"):
        matches = list((here / page).parent.glob("*.html"))
        assert matches, page
        assert all("</html>" in match.read_text(encoding="utf-8") for match in matches)
    refused = started(here, PLACES[place], "lens", "/nowhere")
    assert refused.returncode == 2
    assert b"error: /nowhere does not exist" in refused.stderr
    assert refused.stderr.count(b"error: ") == 1


def test_drawings_are_the_same_whatever_others_have_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from eigenloop.report.drawing import LIGHT, file_content, in_look

    def drawn() -> bytes:
        with in_look(LIGHT):
            figure = Figure()
            figure.subplots().plot([1, 3, 2], label="a")
            return file_content(figure, "svg")

    plain = drawn()
    with mpl.rc_context(
        {
            "text.usetex": True,
            "axes.facecolor": "red",
            "lines.linewidth": 9,
            "font.family": "fantasy",
        }
    ):
        before = dict(mpl.rcParams)
        assert drawn() == plain
        assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("platform", ["cuda", "gpu", "abacus"])
def test_a_backend_that_is_not_there(here: Path, platform: str) -> None:
    done = started(here, {"JAX_PLATFORMS": platform}, "predict", "table.csv", "--steps", "50")
    last = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 2
    assert (
        last
        == f"error: JAX_PLATFORMS is '{platform}', and JAX has no such backend here; unset it, or"
        " set it to cpu"
    )


def test_a_reader_that_goes_away_and_a_full_disk(here: Path) -> None:
    words = [sys.executable, "-c", MAIN, "theory", "--eigenvalues", "3,2,1"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(here, {})
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, b"")
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb") as full:
            done = started(
                here, {}, *words[3:], capture_output=False, stdout=full, stderr=subprocess.PIPE
            )
        assert done.returncode == 2
        assert (
            done.stderr
            == b"error: no space is left on the disk of the output; free some, or choose another"
            b" directory\n"
        )


def test_signs_that_the_terminal_lacks_have_substitutes(here: Path) -> None:
    plain = started(here, {}, "lens", "model").stdout.decode()
    done = started(here, PLACES["ASCII"], "lens", "model")
    assert done.returncode == 0
    assert "±" in plain
    assert "+-" in done.stdout.decode("ascii")
    numbers = [
        [word for word in text.replace("±", "+-").split() if word[0].isdigit()]
        for text in (plain, done.stdout.decode("ascii"))
    ]
    assert numbers[0][:-1] == numbers[1][:-1]  # but for the seconds


@pytest.mark.parametrize("encoding", [{}, PLACES["ASCII"]])
def test_names_that_are_no_text(here: Path, encoding: dict[str, str | None]) -> None:
    name = os.fsencode(here) + b"/mod\xe9l"
    if not os.path.exists(name):
        os.symlink(os.fsencode(here / "model"), name)
    out = os.fsencode(here) + b"/\xe9" + str(len(encoding)).encode()
    done = started(here, encoding, "lens", os.fsdecode(name), "--out", os.fsdecode(out))
    assert done.returncode == 0, done.stderr
    assert b"</html>" in Path(os.fsdecode(out + b"/report.html")).read_bytes()
    refused = started(here, encoding, "lens", os.fsdecode(name + b"/x"))
    assert refused.returncode == 2
    assert rb"mod\udce9l/x does not exist" in refused.stderr
    assert refused.stderr.count(b"error: ") == 1


# --- causes that are known, and those that are not


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("eigenloop.lens.survey.survey", fail)


def ended(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(["lens", "model", *words])
    return int(stop.value.code or 0), capsys.readouterr().err


def test_an_unknown_exception_is_an_internal_error_with_status_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, KeyError("a\nb"))
    status, said = ended(capsys)
    assert status == 70
    assert said.count("\n") == 1
    assert said.startswith("error: internal error: KeyError at ")
    assert "report" in said
    assert "--debug" in said
    status, said = ended(capsys, "--debug")
    assert status == 70
    assert said.startswith("Traceback")
    assert said.splitlines()[-1].startswith("error: internal error: KeyError at ")
    failing(monkeypatch, InputError("no"))
    assert ended(capsys) == (2, "error: no\n")
    assert ended(capsys, "--debug")[1].startswith("Traceback")


KNOWN = {
    "not enough memory (10 GiB)": MemoryError("10 GiB"),
    "not enough memory (of the machine": RuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
    "no space is left on the disk of /a/b": OSError(28, "No space left on device", "/a/b"),
    "/a/b is closed to this user (Permission denied)": PermissionError(
        13, "Permission denied", "/a/b"
    ),
    "raise the limit (ulimit -n)": OSError(24, "Too many open files"),
    "set USER, and HOME": KeyError("getpwuid(): uid not found: 1234"),
    "PYTHONWARNINGS": DeprecationWarning("old"),
    "scipy cannot be imported": ImportError("libblas.so: cannot open", name="scipy"),
}


@pytest.mark.parametrize("message", KNOWN)
def test_known_causes_have_their_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], message: str
) -> None:
    failing(monkeypatch, KNOWN[message])
    status, said = ended(capsys)
    assert status == 2
    assert said.count("\n") == 1
    assert message in said


def test_what_looks_like_a_known_cause_and_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAX_DEBUG_NANS", raising=False)
    for error in (
        KeyError("uid"),
        OSError(5, "Input/output error"),
        FloatingPointError("nan"),
        AssertionError(),
        ImportError("no", name="eigenloop.lens"),
        RuntimeError("backend of a friend"),
    ):
        monkeypatch.delenv("JAX_PLATFORMS", raising=False)
        assert known(error) is None, error


def test_a_message_is_one_line_that_can_be_shown() -> None:
    said = str(InputError("a\nb\t\x1b[31m\ud800\u2028 é"))
    assert said == r"a\nb\t\x1b[31m\ud800\u2028 é"
    assert one_line(said) == said
    long = one_line("begin " + "x" * 10_000 + " end")
    assert len(long) <= LONGEST
    assert long.startswith("begin ")
    assert long.endswith(" end")


def test_progress_does_not_precede_a_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    def work(fails: bool) -> None:
        with bars() as shown:
            for done in range(3):
                shown.tell("layers", done, 2)
            if fails:
                raise InputError("no")

    work(False)
    assert capsys.readouterr().err == "layers: 2 of 2\n"
    with pytest.raises(InputError):
        work(True)
    assert capsys.readouterr().err == ""
