"""Two checkpoints of one model: angles, their chance level and changes of F against independent
computations.
"""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from naive import leading_mode
from small_models import build

from eigenloop import lens
from eigenloop.lens.weights.comparison import (
    Comparison,
    chance_angles,
    principal_angles,
    relative_change,
)
from eigenloop.numerics.spectrum import random_orthogonal
from eigenloop.system.errors import InputError


@given(st.integers(0, 10_000), st.integers(1, 2), st.integers(1, 2))
def test_angles_are_scipys(seed, k, m):
    rng = np.random.default_rng(seed)
    a, b = random_orthogonal(rng, 9)[:, :k], random_orthogonal(rng, 9)[:, :m]
    expected = np.rad2deg(np.sort(scipy.linalg.subspace_angles(a, b)))
    np.testing.assert_allclose(principal_angles(a, b), expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(principal_angles(b, a), expected, rtol=1e-8, atol=1e-8)


def test_planted_angles_come_out_to_many_digits():
    rng = np.random.default_rng(0)
    q = random_orthogonal(rng, 20)
    for small, large in ((1e-10, 1e-3), (0.3, 1.2)):
        tilted = np.stack(
            [
                np.cos(small) * q[:, 0] + np.sin(small) * q[:, 2],
                np.cos(large) * q[:, 1] + np.sin(large) * q[:, 3],
            ],
            axis=1,
        )
        found = np.deg2rad(principal_angles(q[:, :2], tilted @ random_orthogonal(rng, 2)))
        np.testing.assert_allclose(found, [small, large], rtol=1e-4, atol=1e-13)


@pytest.mark.parametrize("ranks", [(1, 1), (1, 2)])
def test_the_chance_level_of_a_line_is_the_exact_one(ranks):
    """cos^2 of a random line to k dimensions is Beta(k/2, (d - k)/2); 4 standard errors of a
    quantile of 4000 draws.
    """
    dim, k = 48, max(ranks)
    for found, level in zip(chance_angles(dim=dim, ranks=ranks), (0.5, 0.05), strict=True):
        below = scipy.stats.beta(k / 2, (dim - k) / 2).sf(np.cos(np.deg2rad(found)) ** 2)
        assert abs(below - level) < 4 * np.sqrt(level * (1 - level) / 4000)


def test_the_chance_level_of_planes_is_that_of_random_orthonormal_pairs():
    rng, dim = np.random.default_rng(7), 12
    bases = [[random_orthogonal(rng, dim)[:, :2] for _ in range(2)] for _ in range(1000)]
    drawn = np.array([principal_angles(*pair)[-1] for pair in bases])
    median, low = chance_angles(dim=dim, ranks=(2, 2))
    for found, level in ((median, 0.5), (low, 0.05)):
        assert abs(np.mean(drawn < found) - level) < 4 * np.sqrt(
            level * (1 - level) * (1 / 1000 + 1 / 4000)
        )


@pytest.mark.parametrize("kind", ["gpt2", "llama", "albert"])
def test_a_model_beside_itself_has_not_moved(kind):
    found = lens.compare(build(kind), build(kind))
    for each in found.changes:
        assert each.angles[-1] < 1e-5
        assert each.left_angles[-1] < 1e-5
        assert each.change == 0
        assert each.eigenvalue_change in (0, None)


def test_angles_and_changes_of_two_models_are_those_of_dense_matrices():
    torch = pytest.importorskip("torch")
    a, b = build("gpt2"), build("gpt2")
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for block in b.h:
            block.attn.c_proj.weight += 0.02 * torch.randn(32, 32, generator=noise)
    found = lens.compare(a, b, layers="1")
    old, new = (lens.circuits(model, 1).matrix() for model in (a, b))
    change = np.linalg.norm(new - old) / np.linalg.norm(old)
    for each in found.changes:
        assert each.change == pytest.approx(change, rel=1e-10)
    mine = {each.rule: each for each in found.changes}["modulus"]
    values, planes = zip(*(leading_mode(matrix) for matrix in (old, new)), strict=True)
    np.testing.assert_allclose(
        mine.angles,
        np.rad2deg(np.sort(scipy.linalg.subspace_angles(*planes))),
        rtol=1e-6,
        atol=1e-8,
    )
    assert mine.eigenvalue_change == pytest.approx(
        abs(values[1] - values[0]) / abs(values[0]), rel=1e-8
    )
    assert 0 < mine.angles[-1] < mine.chance_low


def test_a_line_and_a_plane_are_compared_and_said():
    """The first F is led by a real eigenvalue, the second by a complex pair whose plane holds
    the first's line.
    """
    torch = pytest.importorskip("torch")

    models = []
    for block in (np.diag([3.0, 0.5]), np.array([[0.0, -3.0], [3.0, 0.0]])):
        model = build("gpt2")
        matrix = 0.1 * np.eye(32)
        matrix[:2, :2] = block
        with torch.no_grad():
            for layer in model.h:
                layer.attn.c_attn.weight[:, 64:] = torch.eye(32)
                layer.attn.c_proj.weight.copy_(torch.tensor(matrix.T, dtype=torch.float32))
        models.append(model)
    found = lens.compare(*models, rules=["modulus"])
    for each in found.changes:
        assert (each.a.flag, each.b.flag, len(each.angles)) == ("positive", "complex", 1)
        assert each.angles[0] < 1e-4
    assert "in layers 0, 1, 2 a line is compared with a plane" in " ".join(found.notes())
    assert "the flag differs in layers 0, 1, 2" in found.sentences()[0]


def test_unrelated_models_are_as_far_apart_as_chance_has_it():
    found = lens.compare(build("bert"), build("bert", seed=1))
    below = [each.angles[-1] < each.chance_low for each in found.changes]
    assert sum(below) <= 3  # of 9, each with probability 1/20: more than 3 in 0.07 %
    said = found.sentences()[0]
    assert "no nearer than random ones in layers" in said


def test_tables_files_and_plain_values(tmp_path):
    found = lens.compare(build("gpt2"), build("gpt2", seed=1), rules=["consensus"])
    assert tuple(found.table().columns) == Comparison.COLUMNS
    assert found.save(tmp_path).name == "comparison.csv"
    assert len((tmp_path / "comparison.csv").read_text().splitlines()) == 1 + 3
    plain = found.as_dict()
    assert plain["layers"][2]["angles"] == list(found.changes[2].angles)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_layer": 4}, "differ: layers 3 and 4; compare two checkpoints of one model"),
        ({"n_embd": 40}, "differ: width 32 and 40"),
        ({"n_head": 2}, "differ: heads 4 and 2"),
    ],
)
def test_models_of_different_shapes_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        lens.compare(build("gpt2"), build("gpt2", **changes))


def test_rules_that_do_not_exist_and_a_zero_f():
    with pytest.raises(InputError, match="rule 'first' does not exist"):
        lens.compare(build("gpt2"), build("gpt2"), rules=["first"])
    zero = lens.planted(np.zeros((3, 3)))
    assert relative_change(zero, lens.planted(np.eye(3))) is None
