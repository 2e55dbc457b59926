"""mu reads every token with the same sign where that is possible, and it is said where it is
not.
"""

import numpy as np
import pytest

from eigenloop.lens import Norm
from eigenloop.steer.calibration import choose_mu, reading
from eigenloop.system.errors import InputError


def tokens(n: int = 1200, d: int = 24, *, mean: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)) * np.linspace(0.3, 3.0, d) + mean


def test_a_norm_with_a_bias_is_read_without_any_spread():
    """P diag(1/gain) (x - bias) sums to zero, so 1/gain reads sum bias/gain from every token."""
    rng = np.random.default_rng(1)
    gain, bias = 1 + 0.1 * rng.standard_normal(24), 0.1 * rng.standard_normal(24)
    norm = Norm(gain=gain, bias=bias, eps=0.0, kind="layer", placement="pre")
    found = choose_mu(norm(tokens()))
    expected = 1 / gain / np.linalg.norm(1 / gain) * np.sign(np.sum(bias / gain))
    assert found.positive == 1.0
    assert found.spread < 1e-2
    assert found.mu @ expected > 0.98
    np.testing.assert_allclose(
        norm(tokens()) @ expected, abs(np.sum(bias / gain)) / np.linalg.norm(1 / gain)
    )


def test_tokens_without_a_common_mean_are_found_out():
    # 300 tokens kept aside: a half, 5 standard errors are 0.14
    assert 0.35 < choose_mu(tokens()).positive < 0.65


def test_a_common_mean_is_enough_and_the_spread_falls():
    x = tokens(mean=2.0)
    found = choose_mu(x)
    plain = x.mean(0) / np.linalg.norm(x.mean(0))
    assert found.positive == 1.0
    assert found.spread < 0.8 * np.std(x @ plain) / np.mean(x @ plain)
    assert np.linalg.norm(found.mu) == pytest.approx(1.0)


def test_the_tokens_kept_aside_decide():
    """mu is made from the first tokens; the last quarter has the opposite mean."""
    x = tokens(mean=2.0)
    x[900:] *= -1
    assert choose_mu(x).positive == 0.0


def test_a_reading_has_the_moments_of_its_tokens():
    x, lengths = tokens(mean=2.0), np.full(1200, 4.0)
    found = reading(x, lengths)
    np.testing.assert_allclose(found.mean, x.mean(0))
    np.testing.assert_allclose(found.covariance, (x - x.mean(0)).T @ (x - x.mean(0)) / 1199)
    assert found.size == 4.0
    assert found.push == pytest.approx(np.mean(x @ found.mu))
    direction = np.eye(24)[3]
    assert found.typical(direction) == pytest.approx(np.sqrt(np.mean(x[:, 3] ** 2)), rel=1e-3)


def test_too_few_tokens_are_refused():
    with pytest.raises(InputError, match="7 calibration tokens; at least 8 are needed"):
        choose_mu(tokens(7))
