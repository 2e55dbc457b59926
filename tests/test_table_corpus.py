"""Every data file of statsmodels and vega_datasets: its dialect and its shape, or the reason it is
refused for.

tests/tables.csv lists them. The packages are never imported, only their files are read. Shapes are
counted again here, by lines and separators alone.
"""

import csv
import importlib.util
import re
from importlib import metadata
from pathlib import Path

import pytest

from eigenloop.predict.tables import read_table
from eigenloop.system.errors import InputError

LISTED = Path(__file__).with_name("tables.csv")
SEPARATORS = {"commas": ",", "semicolons": ";", "tabs": "\t", "blanks": None}
NO_DATA = {".py", ".pyc", ".so", ".pyx", ".pxd", ".R", ".r", ".do", ".s", ".m", ".f90", ".h",
           ".in", ".build", ".toml", ".md", ".rst", ".readme", ""}  # fmt: skip
REFUSALS = {"is missing": r"row \d+, column .* is \S+; (fill it in|leave)"}
VERSIONS = {"statsmodels": "0.15.0", "vega_datasets": "0.9.0"}


def root(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is missing: make test installs it")
    if metadata.version(package) != VERSIONS[package]:
        pytest.skip(
            f"the list is of {package} {VERSIONS[package]}, not of {metadata.version(package)}"
        )
    return Path(found.origin).parent


def listed(package: str) -> list[dict[str, str]]:
    with LISTED.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["file"].startswith(f"{package}/")]


@pytest.mark.parametrize("package", VERSIONS)
def test_every_data_file_is_listed(package: str) -> None:
    base = root(package)
    found = {
        path.relative_to(base.parent).as_posix()
        for path in base.rglob("*")
        if path.is_file() and path.suffix not in NO_DATA and path.name != "LICENSE"
    }
    assert {row["file"] for row in listed(package)} == found


@pytest.mark.parametrize("package", VERSIONS)
def test_every_data_file_is_read_or_refused_as_listed(package: str) -> None:
    base, wrong = root(package).parent, []
    for row in listed(package):
        try:
            table = read_table(base / row["file"])
        except InputError as error:
            expected = REFUSALS.get(row["refusal"], re.escape(row["refusal"]))
            if not row["refusal"] or not re.search(expected, str(error)) or "\n" in str(error):
                wrong.append((row["file"], str(error)))
            continue
        header = "no" if "no header" in table.about else "yes"
        doubts = " ".join(
            sorted(
                {"header" if "first line" in doubt.sentence else "order" for doubt in table.doubts}
            )
        )
        found = (row["separator"] in table.about, header, *map(str, table.rows.shape), doubts, "")
        if found != (
            True,
            row["header"],
            row["rows"],
            row["columns"],
            row["doubts"],
            row["refusal"],
        ):
            wrong.append((row["file"], table.about))
    assert wrong == []


@pytest.mark.parametrize("package", VERSIONS)
def test_the_list_agrees_with_counting(package: str) -> None:
    base = root(package).parent
    for row in listed(package):
        if row["refusal"]:
            continue
        text = (base / row["file"]).read_text(encoding="utf-8-sig")
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        named = re.search("[A-DF-Za-df-z]", lines[0]) is not None  # any letter but those of 1e5
        cells = lines[-1].strip().rstrip(",").split(SEPARATORS[row["separator"]])
        counted = (len(lines) - named, len(cells) - int(row["row_names"]), "yes" if named else "no")
        assert counted == (int(row["rows"]), int(row["columns"]), row["header"]), row["file"]
