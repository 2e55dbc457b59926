"""The scripts that measure filters under SGD and out of distribution, and the tables they wrote."""

import csv
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
THEORY = ROOT / "docs" / "theory"
PAGE = THEORY / "past_the_wall_sgd.md"


def script(name: str) -> ModuleType:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "tools"))


@pytest.fixture(scope="module")
def sgd() -> ModuleType:
    return script("filters_sgd")


@pytest.fixture(scope="module")
def price() -> ModuleType:
    return script("filter_price")


def test_the_page_has_the_table_of_the_runs(sgd: ModuleType) -> None:
    lines = sgd.table(THEORY / "filters_sgd.csv").splitlines()
    assert len(lines) > 12
    assert "\n".join(lines) in PAGE.read_text(encoding="utf-8")


def test_every_finished_setting_has_its_ten_seeds_and_is_one_of_the_list(sgd: ModuleType) -> None:
    names = [setting.name for setting in sgd.grid()]
    assert len(set(names)) == len(names)
    with (THEORY / "filters_sgd.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["seed"]]
    found = {row["setting"] for row in rows}
    assert found <= set(names)
    for name in found:
        assert sorted(int(row["seed"]) for row in rows if row["setting"] == name) == list(range(10))


def test_parts_of_matrices_off_the_multiples_of_i(sgd: ModuleType) -> None:
    rng = np.random.default_rng(0)
    skew = rng.standard_normal((4, 4))
    skew, sym = skew - skew.T, skew + skew.T
    sym -= np.trace(sym) / 4 * np.eye(4)
    whole = 2 * np.eye(4) + skew + sym
    found, size = sgd.parts(whole[None]), np.linalg.norm(whole)
    assert found["antisymmetric"] == pytest.approx(np.linalg.norm(skew) / size)
    assert found["traceless"] == pytest.approx(np.linalg.norm(sym) / size)
    assert found["split"] == 0
    assert sgd.parts(np.stack([whole, 3 * whole]))["split"] == pytest.approx(1 / np.sqrt(5))


def test_spectra_have_trace_n(price: ModuleType) -> None:
    for name, rows in price.kinds(5).items():
        samples = int(name.split("=")[1]) if "=" in name else 32
        np.testing.assert_allclose(rows.sum(1), samples, rtol=1e-9)
        assert np.all(np.diff(rows, axis=1) <= 1e-12)
        assert rows.min() >= 0
    assert np.all(price.planted(3.0, 2.6, 5, 0)[:, 2] <= 0.98 * 2.6 + 1e-12)


def test_the_page_repeats_the_prices() -> None:
    with (THEORY / "price.csv").open(encoding="utf-8") as file:
        rows = {
            (row["layers"], row["spectrum"], row["filter"]): row for row in csv.DictReader(file)
        }
    page = PAGE.read_text(encoding="utf-8")
    kinds = ("sphere n=32", "Task 2", "sphere n=16", "sphere n=24", "sphere n=64")
    kinds += ("close 5, 4.5", "flat 3, 2.6")
    for layers in ("4", "10"):
        part = page.split(f"| filter, L = {layers} |")[1].split("\n\n")[0]
        lines = re.findall(r"^\| ([^|]*?)(?:: [\d.]+)? \|(.*)\|$", part, re.MULTILINE)[1:]
        assert [name for name, _ in lines] == list(dict.fromkeys(name for *_, name in rows))
        for name, line in lines:
            for kind, cell in zip(kinds, line.split("|"), strict=True):
                loss, _, share = cell.replace("*", "").partition("/")
                row = rows[layers, kind, name]
                digits = len(loss.strip().partition(".")[2]) if "e" not in loss else 5
                assert abs(float(loss) - float(row["loss"])) <= 0.51 * 10**-digits, (name, kind)
                if share:
                    assert abs(float(share) - float(row["converges"])) <= 0.0101, (name, kind)
