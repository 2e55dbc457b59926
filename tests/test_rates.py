"""The factor of a mode from its left coordinate, on linear maps whose leader is planted."""

import numpy as np
import pytest

from eigenloop.lens.cases.generators import with_spectrum
from eigenloop.numerics.rates import WINDOWS, fit_mode
from eigenloop.numerics.statistics import MIN_POINTS, fit_rate
from eigenloop.system.errors import InputError

PAIR = 0.9 * np.exp(0.7j)
SLOW = 0.8 * np.exp(0.0377j)


def left(matrix: np.ndarray, leader: complex) -> np.ndarray:
    """The left vector w of the eigenvalue nearest to one, w^H J = mu w^H."""
    values, vectors = np.linalg.eig(matrix.T)
    return vectors[:, np.argmin(np.abs(values - leader))].conj()


def orbit(matrix: np.ndarray, loops: int, *, seed: int = 1) -> np.ndarray:
    """x_k - x* of x -> J x, by loop."""
    x = np.random.default_rng(seed).standard_normal(len(matrix))
    states = [x]
    for _ in range(loops):
        states.append(matrix @ states[-1])
    return np.stack(states)


@pytest.mark.parametrize("condition", [1.0, 30.0])
@pytest.mark.parametrize(
    ("leader", "rest"),
    [
        ([0.9], [0.5, -0.4, 0.1]),
        ([-0.9], [0.5, -0.4, 0.1]),
        ([0.9], [0.899, -0.8995, 0.3]),  # nearly tied, with one of the other sign
        ([PAIR, np.conj(PAIR)], [0.8, -0.4, 0.1]),
        ([PAIR, np.conj(PAIR)], [0.8999, -0.4, 0.1]),
        ([SLOW, np.conj(SLOW)], [0.795, -0.4, 0.1]),
    ],
)
def test_the_planted_factor_comes_out_whatever_the_other_modes_do(leader, rest, condition):
    matrix = with_spectrum(np.random.default_rng(0), [*leader, *rest], condition=condition)
    found = fit_mode(orbit(matrix, 100) @ left(matrix, leader[0]).conj())
    mu = complex(leader[0])
    assert abs(found.modulus - abs(mu)) < found.error + 1e-12
    assert found.error < 1e-10
    assert abs(np.angle(np.exp(1j * (found.angle - np.angle(mu))))) < found.angle_error + 1e-12
    assert found.points == 101


def test_a_distance_is_biased_by_many_of_its_own_errors_where_the_coordinate_is_not():
    """A pair that turns by 2.2 degrees a loop beside a nearly tied mode: 50 loops of both."""
    matrix = with_spectrum(
        np.random.default_rng(0), [SLOW, np.conj(SLOW), 0.795, 0.1], condition=10.0
    )
    states = orbit(matrix, 50)
    distance = fit_rate(np.linalg.norm(states, axis=1), window=(1e9, 1e-300))
    assert abs(np.log(distance.value / abs(SLOW))) > 10 * distance.stderr
    found = fit_mode(states @ left(matrix, SLOW).conj())
    assert abs(found.modulus - abs(SLOW)) < 1e-12
    assert found.angle == pytest.approx(0.0377, abs=1e-12)


def test_a_jordan_block_falls_by_its_factor_in_its_left_coordinate_alone():
    """||J^k x|| goes as k 0.9^k, and its slope is off by 1/k; the left vector (0, 1) sees 0.9."""
    states = orbit(np.array([[0.9, 0.5], [0.0, 0.9]]), 60)
    found = fit_mode(states[:, 1])
    assert found.modulus == pytest.approx(0.9, abs=1e-13)
    other = fit_mode(states[:, 0])
    assert abs(other.modulus - 0.9) > 0.01
    assert other.error > 0.1 * abs(other.modulus - 0.9)  # and it does not look steady


def test_many_coordinates_of_one_factor_are_fitted_together():
    rng = np.random.default_rng(2)
    start = rng.standard_normal(7) + 1j * rng.standard_normal(7)
    found = fit_mode(start * PAIR ** np.arange(30)[:, None], first=12)
    assert (found.modulus, found.angle) == (
        pytest.approx(0.9, rel=1e-12),
        pytest.approx(0.7, rel=1e-12),
    )
    assert (found.first, found.points) == (12, 30)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("fading", [0.3, 0.8, 0.93, 0.98])
def test_the_error_covers_a_term_that_fades_within_the_series(fading, sign):
    """c_k = mu^k (1 + s q^k): what a nonlinear term leaves. 1.2 errors cover the bias.

    A window's slope feels one point that is off WINDOWS^2 times as much as the slope of the whole:
    no wider than that.
    """
    k = np.arange(60)
    found = fit_mode(PAIR**k * (1 + sign * 0.2 * fading**k))
    bias = abs(found.modulus - abs(PAIR))
    assert bias < 1.2 * found.error
    assert found.error < WINDOWS**2 * bias


def test_the_error_covers_noise():
    """1e-4 of noise on each coordinate: in at least 95 of 100 series, and no more than 20
    standard deviations wide.
    """
    rng, k, errors, misses = np.random.default_rng(3), np.arange(80), [], []
    for _ in range(200):
        noise = rng.standard_normal(80) + 1j * rng.standard_normal(80)
        found = fit_mode(PAIR**k * (1 + 1e-4 * noise))
        misses.append([found.modulus - abs(PAIR), found.angle - 0.7])
        errors.append([found.error, found.angle_error])
    inside = np.mean(np.abs(misses) < np.array(errors), axis=0)
    assert inside.min() >= 0.95
    assert (np.mean(errors, axis=0) < 20 * np.std(misses, axis=0)).all()


def test_an_angle_next_to_pi_does_not_jump():
    mu = 0.9 * np.exp(1j * (np.pi - 1e-3))
    noise = 1e-2 * np.random.default_rng(0).standard_normal((60, 2)) @ [1, 1j]
    found = fit_mode(mu ** np.arange(60) * (1 + noise))
    assert abs(np.angle(np.exp(1j * (found.angle - np.pi)))) < 0.01
    assert found.angle_error < 0.1
    assert fit_mode((-0.9) ** np.arange(20.0)).angle == np.pi


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (0.9 ** np.arange(7.0), f"at least {MIN_POINTS} loops; 7 given"),
        (np.r_[1.0, np.zeros(9)], "finite and not zero"),
        (np.full(9, np.nan), "finite and not zero"),
    ],
)
def test_what_has_no_factor_is_refused(series, message):
    with pytest.raises(InputError, match=message):
        fit_mode(series)
    assert MIN_POINTS > WINDOWS
