"""The Hessian of untied layers at a tied point: against the tied one, and dense differences."""

import numpy as np
import pytest

from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.system.errors import InputError
from eigenloop.theory.population import EndToEnd
from eigenloop.theory.stability import hessian
from eigenloop.theory.stability.untied import untied_hessian

TASK2 = np.array(DEFAULT_MULTIPLICITIES, float)


@pytest.mark.parametrize(
    ("values", "loops", "a", "b"),
    [(TASK2, 1, 1.0, 0.0), (TASK2, 4, 1.3, 0.8), ([3.0, 3.0, 1.0, 0.0], 3, 0.7, 2.0)],
)
def test_the_sum_over_layers_is_the_hessian_of_the_tied_model(
    values: np.ndarray, loops: int, a: float, b: float
) -> None:
    setting = EndToEnd(values, loops)
    tied, untied = hessian(setting, a=a, b=b), untied_hessian(setting, a=a, b=b)
    assert tied.keys() == untied.keys()
    for name, mode in untied.items():
        assert mode.hessian.shape == (2 * loops, 2 * loops)
        bound = 4 * loops**2 * mode.error
        assert bound < 1e-11
        np.testing.assert_allclose(mode.tied, tied[name].hessian, rtol=0, atol=bound)


def loss(product: np.ndarray, m: int) -> float:
    """int det(I + 2tC)^{-1/2} tr(P C (I + 2tC)^{-1}) dt with dense matrices, t = e^s."""
    total, eye = 0.0, np.eye(len(product))
    covariance = product @ product.T
    for s in np.arange(-36.0, 60.0, 0.25):
        inverse = np.linalg.inv(eye + 2 * np.exp(s) * covariance)
        weight = np.exp(s) * np.sqrt(np.linalg.det(inverse))
        total += 0.25 * weight * float(np.trace((covariance @ inverse)[m:, m:]))
    return total


def basis(name: str) -> list[np.ndarray]:
    """Orthonormal matrices of a sector, d = 3."""
    pairs = [(0, 1), (0, 2), (1, 2)]
    sign = -1 if name == "antisymmetric" else 1
    found = []
    for i, j in pairs:
        e = np.zeros((3, 3))
        e[i, j], e[j, i] = 1, sign
        found.append(e / np.sqrt(2))
    if name == "antisymmetric":
        return found
    if name == "scalar":
        return [np.eye(3) / np.sqrt(3)]
    return [*found, np.diag([1.0, -1.0, 0]) / np.sqrt(2), np.diag([1.0, 1.0, -2.0]) / np.sqrt(6)]


@pytest.mark.parametrize("gamma", [0.6, -0.45])
@pytest.mark.parametrize("name", ["scalar", "antisymmetric", "symmetric traceless"])
def test_every_entry_is_a_second_difference_of_the_loss(name: str, gamma: float) -> None:
    values, a, step = np.array([3.0, 1.5, 0.5]), 1.2, 3e-4
    s, eye, b = np.diag(values), np.eye(3), gamma / 1.2
    found = untied_hessian(EndToEnd(values, 2), a=a, b=b)[name].hessian

    def at(direction: np.ndarray, e: np.ndarray) -> float:
        xi, eta = direction.reshape(2, 2)
        layers = [
            eye + (a * eye + x * e) @ s @ (b * eye + y * e) for x, y in zip(xi, eta, strict=True)
        ]
        return loss(layers[1] @ layers[0], 1)

    for p, q in [(0, 0), (0, 1), (0, 3), (1, 2), (3, 3), (2, 3)]:
        one, other = step * np.eye(4)[p], step * np.eye(4)[q]
        expected = np.mean(
            [
                at(one + other, e) - at(one - other, e) - at(other - one, e) + at(-one - other, e)
                for e in basis(name)
            ]
        ) / (4 * step**2)
        # step^2 times a fourth derivative of order 100, and rounding 1e-16/step^2
        assert found[p, q] == pytest.approx(expected, abs=3e-5)


def test_layers_that_commute_may_be_exchanged_and_others_not() -> None:
    modes = untied_hessian(EndToEnd(TASK2, 3), a=1.1, b=0.5)
    scalar = modes["scalar"].hessian.reshape(2, 3, 2, 3)
    turned = scalar[:, [1, 2, 0]][:, :, :, [1, 2, 0]]
    np.testing.assert_allclose(turned, scalar, rtol=0, atol=1e-14)
    other = modes["symmetric traceless"].hessian.reshape(2, 3, 2, 3)
    assert np.max(abs(other[:, [1, 2, 0]][:, :, :, [1, 2, 0]] - other)) > 1e-4


def test_on_the_papers_path_splitting_scalars_costs_and_turning_layers_pays() -> None:
    """(a, b) = (1.3, 0.83), a^2 - b^2 = 1: stable with shared weights, and not without."""
    setting, a, b = EndToEnd(TASK2, 4), 1.3, np.sqrt(1.3**2 - 1)
    modes = untied_hessian(setting, a=a, b=b)
    assert [mode.lowest_sign for mode in modes.values()] == [1, -1, -1]
    tied = hessian(setting, a=a, b=b)
    assert all(mode.eigenvalues[0] > 0 for mode in tied.values())
    lows = {name: float(mode.eigenvalues[0]) for name, mode in modes.items()}
    assert min(lows, key=lows.__getitem__) == "symmetric traceless"


def test_what_cannot_be_asked() -> None:
    setting = EndToEnd([2.0, 1.0], 2)
    with pytest.raises(InputError, match="a is nan"):
        untied_hessian(setting, a=float("nan"), b=1.0)
    with pytest.raises(InputError, match="the loss is 1"):
        untied_hessian(setting, a=1.0, b=-0.5)
