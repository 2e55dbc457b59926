"""Bounds of the lemmas and the rotations that they are tried with, against sums and loops
written out.
"""

import numpy as np
import pytest

from eigenloop.numerics.rotations import commutant_dimension, cube_rotations, rotation, sphere_nodes
from eigenloop.theory.bounds import loss_bound, norm_bounds, optimum_bounds, slope_bound


def test_rotations_are_orthogonal_and_proper() -> None:
    rng = np.random.default_rng(0)
    for dim in (2, 3, 6):
        found = rotation(rng, dim)
        np.testing.assert_allclose(found @ found.T, np.eye(dim), atol=1e-14)
        assert np.linalg.det(found) == pytest.approx(1, abs=1e-13)


def test_the_24_rotations_of_a_cube_are_a_group_and_average_to_a_multiple_of_one() -> None:
    found = cube_rotations()
    names = {tuple(matrix.ravel()) for matrix in found}
    assert len(names) == 24
    np.testing.assert_array_equal(np.linalg.det(found), 1)
    assert {tuple((a @ b).ravel()) for a in found for b in found} == names
    matrix = np.random.default_rng(0).standard_normal((3, 3))
    mean = np.mean([r @ matrix @ r.T for r in found], axis=0)
    np.testing.assert_allclose(mean, np.trace(matrix) / 3 * np.eye(3), atol=1e-14)


def test_nodes_on_the_sphere_give_the_moments_of_a_uniform_direction() -> None:
    """E[x_i^2] = 1/3, E[x_i^4] = 1/5, E[x_i^2 x_j^2] = 1/15, odd ones 0."""
    q, weight = sphere_nodes(4, 8)
    np.testing.assert_allclose(np.linalg.norm(q, axis=1), 1, atol=1e-14)
    assert weight.sum() == pytest.approx(1)
    fourth = np.einsum("n,ni,nj->ij", weight, q**2, q**2)
    np.testing.assert_allclose(fourth, (np.ones((3, 3)) + 2 * np.eye(3)) / 15, atol=1e-14)
    np.testing.assert_allclose(np.einsum("n,ni,nj->ij", weight, q, q), np.eye(3) / 3, atol=1e-14)


def test_what_commutes_is_counted() -> None:
    """With diag(1, 1, 2) the matrices of its blocks, 4 + 1; with a rotation of the plane 2; with
    I all of them.
    """
    rng = np.random.default_rng(0)
    assert commutant_dimension(np.diag([1.0, 1.0, 2.0])[None]) == 5
    assert commutant_dimension(np.stack([rotation(rng, 2) for _ in range(3)])) == 2
    assert commutant_dimension(np.eye(3)[None]) == 9


def test_no_slope_passes_its_bound_and_one_comes_near() -> None:
    """gamma^2 |f'| of c_2^2 r^2L / (c_1^2 + c_2^2 r^2L), r = (1 + gamma l_2)/(1 + gamma l_1), by
    differences.
    """
    values, loops, gamma, step = np.array([3.0, 0.5]), 2, 1e4, 1e-2

    def loss(gamma: float, share: np.ndarray) -> np.ndarray:
        weight = ((1 + gamma * values[1]) / (1 + gamma * values[0])) ** (2 * loops)
        return share * weight / (1 - share + share * weight)

    share = 1 / (1 + np.logspace(-6, 6, 2_001))
    slopes = gamma**2 * abs(loss(gamma + step, share) - loss(gamma - step, share)) / (2 * step)
    bound = slope_bound(values[None], loops=loops)[0]
    assert bound == pytest.approx(1 / 0.5 - 1 / 3)
    assert 0.999 * bound < slopes.max() < bound


def test_a_samples_loss_is_under_its_bound_which_is_that_of_the_lemma() -> None:
    rng, gammas = np.random.default_rng(0), np.array([0.1, 1.0, 30.0])
    x, query = rng.standard_normal((5, 4, 7)), rng.standard_normal((5, 4))
    gram, query = x @ x.mT, query / np.linalg.norm(query, axis=1, keepdims=True)
    found = loss_bound(gram, query, gammas)
    for i, (s, q) in enumerate(zip(gram, query, strict=True)):
        image = s @ q
        spread = (q @ q) * (image @ image) - (q @ image) ** 2
        np.testing.assert_allclose(
            found[:, i], 2 * spread / (gammas**2 * (image @ image) ** 2), rtol=1e-10
        )
        outputs = q + gammas[:, None] * image
        outputs /= np.linalg.norm(outputs, axis=1, keepdims=True)
        losses = np.sum((outputs - image / np.linalg.norm(image)) ** 2, axis=1)
        assert np.all(losses <= found[:, i])
        assert losses[-1] > 0.9 * found[-1, i] / 2  # 2 sin^2 is twice what is left at small angles


def test_bounds_that_n_and_d_give_are_attained() -> None:
    """Lemma F.2 and Remark F.3 at S = (n/d) I, d = 4, n = 8, and at n equal columns, S = n u
    u^T.
    """
    low, middle, high = norm_bounds(np.array([[2.0] * 4, [8.0, 0, 0, 0]]))
    np.testing.assert_allclose([low, middle, high], [[2, 2], [2, 4], [4, 4]])
    n = np.array([8.0])
    for target, lower, upper in (("normalized", 0.0, 0.5), ("unnormalized", 0.5, 1 - 1 / 8)):
        np.testing.assert_allclose(optimum_bounds(n, 4, target=target), ([lower], [upper]))
