"""`eigenloop theory`: the numbers of one spectrum, the averages of Task 1 against naive Monte
Carlo, the command.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from command_line import call
from eigenloop import __version__
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.numerics.statistics import jackknife, standard_error
from eigenloop.system.errors import InputError
from eigenloop.theory.endpoints import QUANTITIES, SETTINGS, endpoints
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, mean_power_norm
from eigenloop.theory.summary import Spectra, Summary, summarize
from test_cli import parsed

DEFAULT = ",".join(map(str, DEFAULT_MULTIPLICITIES))
CONTRACT = {
    "dim",
    "loops",
    "limit_loss",
    "upsilon1",
    "upsilon2",
    "mean_power_norm",
    "second_moment",
    "gamma_star_normalized",
    "gamma_star_unnormalized",
    "plateau_normalized",
    "plateau_unnormalized",
    "contraction_power_method",
    "contraction_normalized",
    "contraction_unnormalized",
}
LISTS = {"loss_end_to_end", "slope_end_to_end", "loss_layerwise"}
LOGS = {"log_limit_loss", "log_upsilon1", "log_loss_end_to_end", "log_slope_end_to_end"}
REFERENCE = {
    "limit_loss": 0.0981133129937826,
    "upsilon1": 0.0459631049811908,
    "upsilon2": 0.0475842379002149,
    "mean_power_norm": 2.275444398769546,
    "second_moment": 5.375,
    "gamma_star_normalized": 0.0512454695385202,
    "gamma_star_unnormalized": 0.627906976744186,
    "plateau_normalized": 0.226171883379953,
    "plateau_unnormalized": 0.255813953488372,
    "contraction_power_method": 0.8,
}
"""30-digit arithmetic, Task 2 as inferred, L = 10."""


# --- one spectrum


def test_one_spectrum_has_the_reference_values() -> None:
    found = summarize(Spectra.fixed(DEFAULT_MULTIPLICITIES), gammas=[0.0, 1.0, 10.0])
    for name, value in REFERENCE.items():
        assert found.values[name] == pytest.approx(value, rel=1e-12), name
        assert 0 < found.errors[name] < 1e-12, name
        assert found.stderr[name] is None
    assert found.values["log_limit_loss"] == pytest.approx(
        math.log(REFERENCE["limit_loss"]), rel=1e-13
    )
    assert found.values["loss_end_to_end"] == pytest.approx(
        [0.9375, 0.144023888073007, 0.102713027159870], rel=1e-12
    )
    slopes = [-10 / 3, -0.0455274444015348, -0.000460255091980011]
    assert found.values["slope_end_to_end"] == pytest.approx(slopes, rel=1e-12)
    star = found.values["gamma_star_normalized"]
    assert found.values["contraction_normalized"] == pytest.approx(
        (1 + 4 * star) / (1 + 5 * star), rel=1e-13
    )
    assert found.reasons == {}


def test_order_and_multiplicity_do_not_matter() -> None:
    one = summarize(Spectra.fixed([1.0, 4.0, 4.0, 2.0]), gammas=[0.7])
    other = summarize(Spectra.fixed([4.0, 2.0, 4.0, 1.0]), gammas=[0.7])
    assert one.values == other.values
    assert one.values["contraction_power_method"] == pytest.approx(0.5, rel=1e-15)


def test_errors_are_of_each_value() -> None:
    twice = summarize(Spectra.fixed([5.0, 5.0, 0.0, 0.0]))
    assert (twice.values["contraction_power_method"], twice.errors["contraction_power_method"]) == (
        0,
        0,
    )
    near = summarize(Spectra.fixed([1.0, 1 - 1e-8]))
    alone = LayerwiseLinear([1.0, 1 - 1e-8])
    for name, found in (
        ("gamma_star_normalized", alone.optimum()),
        ("plateau_normalized", alone.floor()),
    ):
        assert near.errors[name] < 1e-12
        assert near.values[name] == pytest.approx(float(found.value), rel=1e-12)
    # sum lambda (lambda - 1) cancels down to 1/2^40 in terms of 1/2^20
    lost = summarize(Spectra.fixed([1 + 2.0**-20, 1 - 2.0**-20]))
    assert lost.values["gamma_star_unnormalized"] == pytest.approx(2.0**-40, rel=1e-9)
    assert 1e-10 < lost.errors["gamma_star_unnormalized"] < 1e-8


def test_what_underflows_has_a_logarithm() -> None:
    """1000 loops over a spectrum of 16 decades; the same at 3 loops is the logarithm of the
    number itself.
    """
    wide = summarize(Spectra.fixed(np.geomspace(1e8, 1, 16)), loops=1000, gammas=[1.0])
    for name in ("upsilon1", "loss_end_to_end", "slope_end_to_end"):
        log = wide.values[f"log_{name}"]
        log = log[0] if name in LISTS else log
        assert wide.values[name] in (None, [None])
        # m = 1: as rho^L, the integral over one c_1 near 0
        assert log == pytest.approx(1000 * math.log(10 ** (-8 / 15)), rel=0.03)
        assert f"see log_{name}" in wide.reasons[name]
    few = summarize(Spectra.fixed([3.0, 1.0, 0.5]), loops=3, gammas=[1.0])
    for name in ("upsilon1", "loss_end_to_end", "slope_end_to_end"):
        value, log = (np.ravel(few.values[key])[0] for key in (name, f"log_{name}"))
        assert log == pytest.approx(math.log(abs(value)), rel=1e-12)


@pytest.mark.parametrize(
    ("dim", "samples", "mean", "variance"),
    [
        (2, 2, False, False),
        (2, 3, False, False),
        (2, 4, True, False),
        (2, 5, True, False),
        (2, 6, True, True),
        (3, 3, True, False),
        (3, 4, True, True),
    ],
)
def test_an_infinite_mean_or_variance_over_x_is_no_number(
    dim: int, samples: int, mean: bool, variance: bool
) -> None:
    of = Spectra.sphere(dim=dim, samples=samples, draws=16, seed=0)
    found = summarize(of, loops=2)
    assert (found.values["upsilon2"] is not None, found.stderr["upsilon2"] is not None) == (
        mean,
        variance,
    )
    assert ("infinite" in found.reasons.get("upsilon2", "")) == (not mean)
    assert ("no variance" in found.reasons.get("stderr.upsilon2", "")) == (mean and not variance)


def test_training_on_the_sphere_has_no_prediction_where_its_constant_has_no_mean() -> None:
    of = Spectra.sphere(dim=2, samples=3, draws=2, seed=0)
    found = endpoints(of, loops=1, learning_rate=0.1, steps=1)["predicted"]
    assert found.values["layerwise.gamma"] is None
    assert "infinite" in found.reasons["layerwise.gamma"]


def test_rank_one_over_many_x_gives_no_warning() -> None:
    found = summarize(Spectra.sphere(dim=2, samples=1, draws=8, seed=0), loops=2)
    assert (
        found.values["limit_loss"],
        found.stderr["limit_loss"],
        found.stderr["log_limit_loss"],
    ) == (0, 0, None)


def test_leading_orders_have_no_error_of_their_own() -> None:
    found = endpoints(Spectra.fixed([2.0, 1.0]), loops=1, learning_rate=0.1, steps=10)
    assert set(found["predicted"].errors.values()) == {None}
    assert "leading order" in found["predicted"].reasons["errors"]
    assert all(error > 0 for error in found["recursion"].errors.values())


def test_what_underflows_or_diverges_or_is_zero_is_said() -> None:
    deep = summarize(Spectra.fixed([3.0, 1.0, 0.5]), loops=1000)
    assert deep.values["limit_loss"] is None
    assert "see log_limit_loss" in deep.reasons["limit_loss"]
    # f_inf ~ C rho^L for m = 1: two depths give the rate
    deeper = summarize(Spectra.fixed([3.0, 1.0, 0.5]), loops=1100)
    fall = deeper.values["log_limit_loss"] - deep.values["log_limit_loss"]
    assert fall == pytest.approx(100 * math.log(1 / 3), rel=1e-6)
    flat = summarize(Spectra.fixed([3.0, 1.0, 0.0]))
    assert flat.values["upsilon2"] is None
    assert flat.errors["upsilon2"] is None
    assert "rank 2 in dimension 3" in flat.reasons["upsilon2"]
    alone = summarize(Spectra.fixed([2.0, 0.0, 0.0]))
    assert (
        alone.values["limit_loss"],
        alone.values["upsilon1"],
        alone.values["contraction_power_method"],
    ) == (0, 0, 0)
    assert "exactly 0" in alone.reasons["log_limit_loss"]
    small = summarize(Spectra.fixed([0.5, 0.1]))
    assert small.values["gamma_star_unnormalized"] < 0
    assert small.values["contraction_unnormalized"] is None
    assert "negative" in small.reasons["contraction_unnormalized"]
    assert small.values["contraction_normalized"] is not None
    # the widest that is taken
    for eigenvalues in (
        [1e60, 2.0, 1.0],
        [1e-59, 3e-60, 2e-60, 1e-119],
    ):
        wide = summarize(Spectra.fixed(eigenvalues), gammas=[1.0])
        assert all(
            np.all(np.isfinite(v)) for name, v in wide.values.items() if name not in wide.reasons
        )


# --- Task 1 against naive Monte Carlo

D, N, L, GAMMA = 4, 10, 2, 0.8


def naive_batch(rng: np.random.Generator, size: int) -> dict[str, float]:
    """Everything from sampled X and q, by the definitions alone."""
    x = rng.standard_normal((size, D, N))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    s = x @ x.transpose(0, 2, 1)
    q = rng.standard_normal((size, D, 1))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    sq = s @ q
    values, vectors = np.linalg.eigh(s)
    top = vectors[:, :, -1:]

    def dot(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return (u * v).sum((1, 2))

    def distance(start: np.ndarray, matrix: np.ndarray) -> float:
        for _ in range(L):
            start = matrix @ start
        return float((1 - dot(start, top) ** 2 / dot(start, start)).mean())

    norm, target = np.sqrt(dot(sq, sq)), q + GAMMA * sq
    unit = sq / norm[:, None, None]
    mu2 = float((norm**2).mean())
    star = float((dot(unit, sq) - dot(q, sq)).mean()) / mu2
    factor = lambda gamma: float(((1 + gamma * values[:, -2]) / (1 + gamma * values[:, -1])).mean())  # noqa: E731
    return {
        "limit_loss": distance(q, s),
        "loss_end_to_end": distance(q, np.eye(D) + GAMMA * s),
        "loss_layerwise": float((2 - 2 * dot(target, unit) / np.sqrt(dot(target, target))).mean()),
        "upsilon2": float(((norm**2 - dot(q, sq) ** 2) / norm**4).mean()),
        "mean_power_norm": float(norm.mean()),
        "second_moment": mu2,
        "gamma_star_normalized": star,
        "gamma_star_unnormalized": float((norm**2 - dot(q, sq)).mean()) / mu2,
        "plateau_normalized": float(dot(q + star * sq - unit, q + star * sq - unit).mean()),
        "contraction_power_method": float((values[:, -2] / values[:, -1]).mean()),
        "contraction_normalized": factor(star),
    }


@pytest.fixture(scope="module")
def sampled() -> tuple[Summary, dict[str, tuple[float, float]]]:
    """The averages, and the naive ones with their standard errors from 50 batches of 10,000."""
    found = summarize(Spectra.sphere(dim=D, samples=N, draws=200, seed=1), loops=L, gammas=[GAMMA])
    rng = np.random.default_rng(2)
    batches = [naive_batch(rng, 10_000) for _ in range(50)]
    naive = {name: np.array([batch[name] for batch in batches]) for name in batches[0]}
    return found, {
        name: (float(v.mean()), float(v.std(ddof=1) / 50**0.5)) for name, v in naive.items()
    }


@pytest.mark.parametrize(
    "name",
    [
        "limit_loss",
        "loss_end_to_end",
        "loss_layerwise",
        "upsilon2",
        "mean_power_norm",
        "second_moment",
        "gamma_star_normalized",
        "gamma_star_unnormalized",
        "plateau_normalized",
        "contraction_power_method",
        "contraction_normalized",
    ],
)
def test_averages_over_x_agree_with_naive_monte_carlo(name: str, sampled: tuple) -> None:
    found, naive = sampled
    value, stderr = found.values[name], found.stderr[name]
    value, stderr = (value[0], stderr[0]) if name in LISTS else (value, stderr)
    expected, noise = naive[name]
    assert abs(value - expected) < 5 * math.hypot(stderr, noise)
    assert stderr < 0.05 * value


def test_what_the_mean_spectrum_alone_decides_is_exact() -> None:
    found = summarize(Spectra.sphere(dim=16, samples=32, draws=2, seed=0))
    # E tr S^2 = n + n (n - 1)/d
    assert found.values["second_moment"] == pytest.approx((32 + 32 * 31 / 16) / 16, rel=1e-15)
    assert found.values["gamma_star_unnormalized"] == pytest.approx(31 / 47, rel=1e-15)
    assert found.values["plateau_unnormalized"] == pytest.approx(15 / 47, rel=1e-15)
    assert [
        found.stderr[n]
        for n in ("second_moment", "gamma_star_unnormalized", "plateau_unnormalized")
    ] == [0, 0, 0]


def test_the_control_variate_takes_most_of_the_noise_away() -> None:
    of = Spectra.sphere(dim=16, samples=32, draws=64, seed=0)
    plain = float(standard_error(mean_power_norm(of.rows).value))
    assert summarize(of).stderr["mean_power_norm"] < 0.2 * plain


def test_gamma_star_is_of_the_averages_and_no_average_of_gamma_stars() -> None:
    of = Spectra.sphere(dim=3, samples=4, draws=1000, seed=0)
    found = summarize(of)
    each = [float(np.mean(row * (row - 1)) / np.mean(row**2)) for row in of.rows]
    # (n - 1)/(d + n - 1)
    assert found.values["gamma_star_unnormalized"] == pytest.approx(0.5, rel=1e-14)
    assert np.mean(each) < 0.5 - 5 * float(standard_error(each))


def test_standard_errors_are_the_scatter_over_seeds() -> None:
    found = [
        summarize(Spectra.sphere(dim=4, samples=8, draws=64, seed=seed), loops=3)
        for seed in range(80)
    ]
    for name in (
        "limit_loss",
        "log_limit_loss",
        "upsilon1",
        "mean_power_norm",
        "gamma_star_normalized",
        "plateau_normalized",
        "contraction_normalized",
        "contraction_power_method",
    ):
        scatter = np.std([one.values[name] for one in found], ddof=1)
        stated = np.sqrt(np.mean([one.stderr[name] ** 2 for one in found]))
        # the standard deviation of 80 values is known to 8 %, and upsilon1 has heavy tails
        assert scatter / stated == pytest.approx(1, abs=0.4), name


def test_fewer_columns_than_dimensions_give_exact_zeros() -> None:
    of = Spectra.sphere(dim=5, samples=2, draws=3, seed=0)
    assert np.count_nonzero(of.rows) == 6
    found = summarize(of)
    assert found.values["upsilon2"] is None
    assert found.values["limit_loss"] > 0


def test_jackknife_of_a_ratio_agrees_with_the_delta_method() -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(1, 2, (400, 2))
    value, stderr = jackknife(rows, lambda r: float(r[:, 0].mean() / r[:, 1].mean()))
    x, y = rows.mean(0)
    assert value == pytest.approx(x / y, rel=1e-14)
    residual = rows[:, 0] - value * rows[:, 1]
    assert stderr == pytest.approx(float(standard_error(residual)) / y, rel=5e-3)
    mean, of_mean = jackknife(rows[:, 0], lambda r: float(r.mean()))
    assert (mean, of_mean) == pytest.approx((x, float(standard_error(rows[:, 0]))), rel=1e-12)
    with pytest.raises(InputError, match="at least 2"):
        jackknife(rows[:1], lambda r: 0.0)


# --- where training ends


def test_endpoints_are_the_plain_recursion_and_the_formulas() -> None:
    eigenvalues, rate, steps = [2.0, 1.0, 0.5], 0.05, 400
    found = endpoints(Spectra.fixed(eigenvalues), loops=2, learning_rate=rate, steps=float(steps))
    values = np.array(eigenvalues)
    mu2 = np.mean(values**2)
    star = 1 - values.mean() / mu2
    a, b = 1.0, 0.0
    for _ in range(steps):
        slope = 2 * mu2 * (a * b - star)
        a, b = a - rate / 3 * b * slope, b - rate / 3 * a * slope
    ended = [found["recursion"].values[f"no_norm_unnormalized.{name}"] for name in QUANTITIES]
    loss = mu2 * (a * b - star) ** 2 + 1 - values.mean() ** 2 / mu2
    assert ended == pytest.approx([a * b, a, b, loss], rel=1e-12)
    y1 = summarize(Spectra.fixed(eigenvalues), loops=2).values["upsilon1"]
    gamma = 2 * math.sqrt(rate * y1 * steps / 3)
    assert found["predicted"].values["end_to_end.gamma"] == pytest.approx(gamma, rel=1e-12)
    assert found["predicted"].values["end_to_end.a"] == pytest.approx(math.sqrt(gamma), rel=1e-12)
    assert set(found["predicted"].values) == {f"{s}.{q}" for s in SETTINGS for q in QUANTITIES}


def test_a_rate_that_diverges_and_a_constant_that_does_not_exist_are_said() -> None:
    found = endpoints(Spectra.fixed([3.0, 1.0]), loops=1, learning_rate=50.0, steps=100)
    assert found["recursion"].values["no_norm_unnormalized.gamma"] is None
    assert "diverges" in found["recursion"].reasons["no_norm_unnormalized.gamma"]
    found = endpoints(Spectra.fixed([2.0, 0.0]), loops=1, learning_rate=0.1, steps=3)
    assert found["predicted"].values["layerwise.gamma"] is None
    assert "Upsilon_2 diverges" in found["predicted"].reasons["layerwise.gamma"]
    assert "Upsilon_1" in found["predicted"].reasons["end_to_end.loss"]
    assert found["recursion"].values["end_to_end.gamma"] > 0


def test_more_than_two_million_small_steps_go_on_where_fewer_stopped() -> None:
    """lr 1e-6 on Task 2: 0.32286 after 1e6 steps, and no step back past the end of the
    step-by-step run.
    """
    gammas = []
    for steps in (2e6 + 1, 1e7):
        found = endpoints(Spectra.fixed(DEFAULT_MULTIPLICITIES), learning_rate=1e-6, steps=steps)[
            "recursion"
        ]
        gammas.append(found.values["no_norm_unnormalized.gamma"])
        assert found.errors["no_norm_unnormalized.gamma"] < 1e-10
    # step by step at 2e6: 0.50154311226
    assert gammas == pytest.approx([0.50154323251, 0.62788127443], rel=1e-10)


def test_the_groups_are_trained_as_long_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times the steps at a third of the rate: the same end, and the same scatter (less
    when frozen early).
    """
    monkeypatch.setattr("eigenloop.theory.endpoints.GROUPS", 3)
    of = Spectra.sphere(dim=3, samples=9, draws=6, seed=0)
    ends = [
        endpoints(of, loops=1, learning_rate=rate, steps=n)["recursion"]
        for rate, n in ((1e-4, 9e3), (1e-4 / 3, 2.7e4))
    ]
    name = "no_norm_normalized.gamma"
    assert ends[1].stderr[name] == pytest.approx(ends[0].stderr[name], rel=0.01)


def test_a_learning_rate_that_overflows_is_not_called_divergence_with_ln() -> None:
    found = endpoints(Spectra.fixed([3.0, 1.0]), loops=1, learning_rate=1e300, steps=10)[
        "recursion"
    ]
    assert "range of float64" in found.reasons["end_to_end.gamma"]
    assert "diverges" in found.reasons["no_norm_unnormalized.gamma"]


def test_endpoints_of_task_1_have_standard_errors() -> None:
    of = Spectra.sphere(dim=3, samples=30, draws=16, seed=0)
    found = endpoints(of, loops=1, learning_rate=0.01, steps=300)
    top = summarize(of).values
    star = found["recursion"].values["no_norm_normalized.gamma"]
    assert (
        abs(star - top["gamma_star_normalized"])
        < 5 * found["recursion"].stderr["no_norm_normalized.gamma"]
    )
    for kind in found.values():
        assert all(0 < kind.stderr[name] < 0.2 * kind.values[name] for name in kind.values)


# --- the command


def test_json_of_a_spectrum(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = call(
        capsys, "theory", "--eigenvalues", DEFAULT, "--gamma", "0.5,5", "--json"
    )
    assert (status, err) == (0, "")
    found = parsed(out)
    assert found.keys() >= CONTRACT | LISTS | {"errors", "reasons", "version", "seed", "seconds"}
    assert "stderr" not in found
    assert (found["dim"], found["loops"], found["version"]) == (16, 10, __version__)
    for name, value in REFERENCE.items():
        assert found[name] == pytest.approx(value, rel=1e-12)
        assert found["errors"][name] < 1e-12
    for name in LISTS:
        assert len(found[name]) == len(found["errors"][name]) == 2
        assert abs(found[name][0]) > abs(found[name][1]) > 0


def test_json_of_task_1(capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "theory",
        "--task",
        "sphere",
        "--dim",
        3,
        "--samples",
        30,
        "--draws",
        16,
        "--gamma",
        "2",
    ]
    command += ["--learning-rate", 0.01, "--steps", "1e3", "--loops", 2, "--json"]
    status, out, _ = call(capsys, *command)
    assert status == 0
    found = parsed(out)
    keys = CONTRACT - {"dim", "loops"} | LISTS
    assert found.keys() >= keys
    assert (
        found["stderr"].keys()
        == found["errors"].keys()
        == CONTRACT | LISTS | LOGS | {"predicted", "recursion"}
    )
    assert found["stderr"]["dim"] is found["stderr"]["loops"] is found["errors"]["dim"] is None
    assert all(found["stderr"][name][0] > 0 for name in LISTS)
    assert found["steps"] == 1000
    for kind in ("predicted", "recursion"):
        for objects in (found, found["stderr"], found["errors"]):
            assert objects[kind].keys() == set(SETTINGS)
            known = objects is not found["errors"] or kind == "recursion"
            for setting in objects[kind].values():
                assert all(value > 0 if known else value is None for value in setting.values())
    assert "leading order" in found["reasons"]["predicted.errors"]
    quick = [word for word in command if word not in ("--learning-rate", 0.01, "--steps", "1e3")]
    again = parsed(call(capsys, *quick)[1])
    assert all(again[name] == found[name] for name in keys)


def test_the_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "theory", "--eigenvalues", "3,1,0", "--gamma", "0.5")
    assert status == 0
    for text in (
        "d = 3, L = 10",
        "limit_loss",
        "loss_layerwise at gamma = 0.5",
        "undefined",
        "Upsilon_2 diverges",
    ):
        assert text in out
    out = call(capsys, "theory", "--task", "sphere", "--dim", 3, "--samples", 5, "--draws", 4)[1]
    for text in ("Task 1, d = 3, L = 10, n = 5", "standard error", "exact"):
        assert text in out
    assert "eigenvalues 5, 4, 3, 3" in call(capsys, "theory")[1]


@pytest.mark.slow
def test_a_million_steps_in_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    command = [
        "theory",
        "--eigenvalues",
        DEFAULT,
        "--learning-rate",
        0.1,
        "--steps",
        "1e6",
        "--json",
    ]
    found = parsed(call(capsys, *command)[1])
    assert time.monotonic() - began < 60  # 5 s by itself; other tests share the cores
    predicted, recursion = found["predicted"]["end_to_end"], found["recursion"]["end_to_end"]
    assert predicted["gamma"] == pytest.approx(recursion["gamma"], rel=0.01)
    assert found["recursion"]["layerwise"]["gamma"] == pytest.approx(14.64, rel=1e-3)
    assert found["predicted"]["layerwise"]["gamma"] == pytest.approx(
        (12 * 1e5 * REFERENCE["upsilon2"] / 16) ** (1 / 3)
    )
    long = parsed(call(capsys, *command[:-2], "1e12", "--json")[1])
    assert long["recursion"]["end_to_end"]["gamma"] == pytest.approx(
        long["predicted"]["end_to_end"]["gamma"], rel=1e-4
    )


def test_it_loads_neither_jax_nor_matplotlib() -> None:
    code = (
        "import sys, json; from eigenloop.cli import main\ntry: main(sys.argv[1:])\nexcept"
        " SystemExit: print(json.dumps([m for m in ('jax', 'matplotlib', 'torch') if m in"
        " sys.modules]))"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "theory",
        "--eigenvalues",
        DEFAULT,
        "--gamma",
        "1",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    first, last = done.stdout.splitlines()
    assert json.loads(first)["dim"] == 16
    assert json.loads(last) == []


BAD: list[tuple[list[Any], str]] = [
    (["--eigenvalues", "3,-1"], "eigenvalue -1 is negative"),
    (["--eigenvalues", "-1,3"], "eigenvalue -1 is negative"),
    (["--eigenvalues", "3,nan"], "eigenvalue nan is not a finite number"),
    (["--eigenvalues", "inf,1"], "eigenvalue inf is not a finite number"),
    (["--eigenvalues", ""], "--eigenvalues is empty"),
    (["--eigenvalues", "3,,1"], "--eigenvalues is '3,,1'"),
    (["--eigenvalues", "3,x"], "give numbers separated by commas"),
    (["--eigenvalues", "3"], "at least 2 are needed"),
    (["--eigenvalues", "1e61,1"], "the largest eigenvalue is 1e+61"),
    (
        ["--eigenvalues", "5,1,1e-70"],
        "eigenvalue 1e-70 is below 1e-60 of the largest, 5; give 0 in its place",
    ),
    (["--eigenvalues", "0,0"], "all eigenvalues are 0"),
    (["--eigenvalues", "2,2,2"], "a tight frame has no principal direction to find"),
    (["--eigenvalues", "2,1", "--loops", 0], "--loops is 0"),
    (["--eigenvalues", "2,1", "--loops", "1.5"], "'--loops'"),
    (["--eigenvalues", "2,1", "--task", "sphere"], "give one of them"),
    (["--eigenvalues", "2,1", "--gamma", "-inf"], "gamma is -inf"),
    (["--eigenvalues", "2,1", "--gamma", "1,nan"], "gamma is nan"),
    (["--eigenvalues", "2,1", "--gamma", "a"], "--gamma is 'a'"),
    (["--eigenvalues", "2,1", "--learning-rate", 0, "--steps", 10], "--learning-rate is 0"),
    (["--eigenvalues", "2,1", "--learning-rate", -0.1, "--steps", 10], "--learning-rate is -0.1"),
    (["--eigenvalues", "2,1", "--learning-rate", "nan", "--steps", 10], "--learning-rate is nan"),
    (["--eigenvalues", "2,1", "--learning-rate", 0.1, "--steps", 0], "--steps is 0"),
    (
        ["--eigenvalues", "2,1", "--learning-rate", 0.1, "--steps", 1e300],
        "--steps is 1e+300; it must be at most 1e+18",
    ),
    (["--eigenvalues", "2,1", "--learning-rate", 0.1, "--steps", 1.5], "--steps is 1.5"),
    (["--eigenvalues", "2,1", "--learning-rate", 0.1], "go together"),
    (["--eigenvalues", "2,1", "--steps", 10], "go together"),
    (["--dim", 4], "--dim belongs to --task sphere"),
    (["--task", "cube"], "'cube'"),
    (["--task", "sphere", "--dim", 1], "--dim is 1"),
    (["--task", "sphere", "--samples", 0], "--samples is 0"),
    (["--task", "sphere", "--draws", 1], "--draws is 1"),
    (["--task", "sphere", "--seed", -1], "--seed is -1"),
    (["--seed", -1], "--seed is -1"),
]


@pytest.mark.parametrize(
    ("arguments", "words"), BAD, ids=[" ".join(map(str, arguments)) for arguments, _ in BAD]
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list, words: str
) -> None:
    status, out, err = call(capsys, "theory", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err


def test_at_negative_gamma_slopes_keep_their_signs() -> None:
    """Past infinity f falls to its minimum and rises from there; nothing at the wall itself."""
    found = summarize(Spectra.fixed([4.0, 2.0, 1.0]), loops=3, gammas=[-2.0, -0.4, -0.25])
    falls, rises, wall = found.values["slope_end_to_end"]
    assert falls < 0 < rises
    assert wall == 0
    logs = found.values["log_slope_end_to_end"]
    assert logs[:2] == pytest.approx(np.log([-falls, rises]), rel=1e-12)
    assert logs[2] is None
    assert "plateau" in found.reasons["log_slope_end_to_end"]
    rows = np.array([[4.0, 2.0, 1.0], [5.0, 3.0, 2.5]])
    two = Spectra(rows, Spectra.sphere(dim=3, samples=7, draws=2, seed=0).moments, 7)
    mean = float(np.mean(EndToEnd(rows, 3).slope(-0.45).value))
    both = summarize(two, loops=3, gammas=[-0.45])
    assert both.values["slope_end_to_end"] == pytest.approx([mean], rel=1e-12)
    assert both.stderr["slope_end_to_end"][0] > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Spectra.fixed([1.0, 1.0]),
        lambda: summarize(Spectra.fixed([2.0, 1.0]), loops=0),
        lambda: summarize(Spectra.fixed([2.0, 1.0]), gammas=[float("nan")]),
        lambda: endpoints(Spectra.fixed([2.0, 1.0]), loops=0, learning_rate=0.1, steps=1),
    ],
)
def test_bad_values_are_refused_from_python_too(make: Callable[[], Any]) -> None:
    with pytest.raises(InputError):
        make()
