"""Plateaus and distances of error curves, the scripts under tools/ that measure them, and their
claims.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from eigenloop.claims import Effort
from eigenloop.figures.claims import plateau_ledger as ledger
from eigenloop.figures.plateau import (
    curve_distances,
    deviation,
    first_order_sines,
    limit_sines,
    scalar_part,
    turned_points,
)
from eigenloop.figures.points import Points
from eigenloop.theory.dynamics import recursion
from eigenloop.theory.population import EndToEnd
from eigenloop.theory.slopes import SlopeTable

TOOLS = Path(__file__).resolve().parents[1] / "tools"
SPECTRUM = np.array([5.0, 3.0, 2.0, 1.0, 0.5])


def script(name: str) -> ModuleType:
    sys.path.insert(0, str(TOOLS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(TOOLS))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.fixture(scope="module")
def grid() -> ModuleType:
    return script("plateau_grid")


@pytest.fixture(scope="module")
def figure() -> ModuleType:
    return script("plateau_figure")


def some_points(rng: np.random.Generator, count: int) -> Points:
    """S in random rotations, random queries."""
    dim = len(SPECTRUM)
    turns = np.linalg.qr(rng.standard_normal((count, dim, dim)))[0]
    query = rng.standard_normal((count, dim))
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    gram = turns * SPECTRUM @ np.swapaxes(turns, 1, 2)
    return Points(gram, query, np.tile(SPECTRUM, (count, 1)), turns)


def near_multiples(rng: np.random.Generator, size: float) -> tuple[np.ndarray, np.ndarray]:
    noise = size * rng.standard_normal((2, len(SPECTRUM), len(SPECTRUM)))
    return 1.5 * (np.eye(len(SPECTRUM)) + noise[0]), 0.8 * (np.eye(len(SPECTRUM)) + noise[1])


def test_the_plateau_is_where_plain_loops_end(rng: np.random.Generator) -> None:
    points = some_points(rng, 20)
    a, b = near_multiples(rng, 0.1)
    for row, found in enumerate(limit_sines(a, b, points)):
        q, top = points.query[row], points.eigenvectors[row][:, 0]
        for _ in range(2_000):
            q = q + a @ (points.gram[row] @ (b @ q))
            q = q / np.sqrt(q @ q)
        assert found == pytest.approx(np.sqrt(max(1 - (q @ top) ** 2, 0)), rel=1e-6)
    multiples = limit_sines(2 * np.eye(5), 3 * np.eye(5), points)
    np.testing.assert_allclose(multiples, 0, atol=1e-12)


def test_loops_that_turn_for_ever_have_no_plateau(rng: np.random.Generator) -> None:
    points, quarter = some_points(rng, 3), np.eye(5)
    quarter[:2, :2] = [[0, -9], [9, 0]]
    upright = np.tile(np.eye(5), (3, 1, 1))
    points = Points(upright * SPECTRUM, points.query, points.eigenvalues, upright)
    assert np.isnan(limit_sines(quarter, np.eye(5), points)).all()


def test_the_first_order_misses_by_the_second(rng: np.random.Generator) -> None:
    points = some_points(rng, 50)
    noise = rng.standard_normal((2, 5, 5))

    def missed(size: float) -> float:
        a, b = (np.eye(5) + size * part for part in noise)
        return float(np.max(abs(limit_sines(a, b, points) - first_order_sines(a, b, points))))

    assert np.log2(missed(2e-3) / missed(1e-3)) == pytest.approx(2, abs=0.1)
    a, b = near_multiples(rng, 1e-3)
    np.testing.assert_allclose(
        first_order_sines(7 * a, b / 9, points), first_order_sines(a, b, points), rtol=1e-12
    )


def test_distance_of_curves_is_a_mean_over_loops_in_decades() -> None:
    reference = np.array([[1.0, 1.0], [0.1, 0.5], [0.01, 0.25]])
    factors = np.array([[7.0, 7.0], [10.0, 0.1], [1e4, 10.0]])  # loop 0 does not count
    np.testing.assert_allclose(curve_distances(reference * factors, reference, loops=2), [2.5, 1.0])


def test_deviation_is_the_share_that_the_multiple_of_the_identity_leaves(
    rng: np.random.Generator,
) -> None:
    matrix = 2 * np.eye(5) + 0.1 * rng.standard_normal((5, 5))
    rest = matrix - scalar_part(matrix)
    assert np.trace(rest) == pytest.approx(0, abs=1e-14)
    assert deviation(matrix) == pytest.approx(
        np.linalg.norm(rest) / np.linalg.norm(scalar_part(matrix))
    )


def test_turned_points_have_the_spectrum_and_every_direction() -> None:
    points = turned_points(SPECTRUM, count=4_000, seed=3)
    np.testing.assert_allclose(points.eigenvalues, np.tile(SPECTRUM, (4_000, 1)), rtol=1e-12)
    # of a uniform direction: mean 1/d, variance 2 (d-1) / (d^2 (d+2))
    squares = points.eigenvectors[:, :, 0] ** 2
    error = np.sqrt(2 * 4 / (25 * 7) / 4_000)
    assert np.max(abs(squares.mean(axis=0) - 1 / 5)) < 5 * error


@pytest.mark.parametrize("claim", ledger.claims, ids=lambda claim: claim.id)
def test_claims_have_their_recorded_verdict(claim) -> None:
    assert claim.run(Effort(quick=True)).finding.kind == claim.expected_verdict


def test_the_population_at_a_constant_rate_is_the_theorys(grid: ModuleType) -> None:
    setting = EndToEnd([2.0, 1.0, 1.0], 3)
    path = recursion(setting, learning_rate=0.1, steps=200)
    found = grid.population(SlopeTable(setting), np.full(200, 0.1), 3)
    np.testing.assert_allclose(found[path.steps.astype(int)], path.gamma, rtol=1e-12)


def test_rates_fall_as_their_names_say(grid: ModuleType) -> None:
    steps = np.array([0, 500, 1_000])
    np.testing.assert_allclose(grid.rate_at("constant", 0.1, steps, 1_000), 0.1)
    np.testing.assert_allclose(
        grid.rate_at("cosine", 0.1, steps, 1_000), [0.1, 0.05, 0], atol=1e-16
    )
    np.testing.assert_allclose(
        grid.rate_at("inverse-root", 0.1, steps, 1_000), 0.1 / np.sqrt([1, 1.5, 2])
    )


def test_settings_have_names_of_their_own_and_the_paper_s_length(grid: ModuleType) -> None:
    settings = grid.grid()
    assert len({setting.name for setting in settings}) == len(settings)
    assert (
        settings[0].config().total_steps
        == grid.EPOCHS * (10_000 // 128)
        == grid.snapshots(156_000)[-1]
    )
    assert grid.snapshots(2_000)[-2:] == [1_000, 2_000]


def test_an_interrupted_grid_goes_on(
    grid: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [grid.Setting(steps=steps) for steps in (10, 20)]
    trained = []

    def rows_of(setting):
        trained.append(setting.steps)
        yield {
            "setting": setting.name,
            "seed": 4,
            "step": setting.steps,
            "gamma": "1",
            "plateau": "0.1",
        }

    monkeypatch.setattr(grid, "rows_of", rows_of)
    path = tmp_path / "grid.csv"
    grid.run(settings[:1], path)
    grid.run(settings, path)
    assert trained == [10, 20]
    assert grid.finished(path) == {setting.name for setting in settings}


def test_a_course_is_judged_seed_by_seed(figure: ModuleType) -> None:
    # seeds far apart, changes alike
    steps, apart = (
        np.array([1, 10, 100]),
        np.array([0.0, 5.0, -5.0]),
    )

    def verdict(*means: float) -> str:
        noise = 0.01 * np.array([[1, -1, 0], [0, 1, -1], [-1, 0, 1]])
        return figure.judged(figure.Course(steps, np.array(means)[:, None] + apart + noise)).kind

    assert verdict(3, 2, 1) == "falls"
    assert verdict(3, 1, 2) == "rises"
    assert verdict(3, 1, 1.001) == "levels"


def test_the_exponent_of_a_power_law_comes_back(
    figure: ModuleType, rng: np.random.Generator
) -> None:
    def course(mean: float):
        return figure.Course(np.array([5]), mean * np.exp(0.01 * rng.standard_normal((1, 40))))

    value, error = figure.exponent(course(3.0), course(3.0 * 10**0.25), 10.0)
    assert error == pytest.approx(0.01 * np.sqrt(2 / 40) / np.log(10), rel=0.4)
    assert abs(value - 0.25) < 5 * error
