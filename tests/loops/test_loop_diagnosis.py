"""Loops worth running, verdicts, and the whole diagnosis on maps of known type."""

import json

import numpy as np
import pytest

from eigenloop.loops import (
    Linear,
    LoopedMap,
    diagnose,
    distance_left,
    divergence,
    exit_factor,
    loops_count,
    orbit,
    random_starts,
    stability,
    usefulness,
)
from eigenloop.loops.cases import (
    KnownMap,
    known_maps,
    linear_map,
    normalized_map,
    planted,
    tanh_map,
)
from eigenloop.loops.forecast import first_below
from eigenloop.numerics.power import loops_needed
from eigenloop.numerics.spectrum import random_orthogonal
from eigenloop.system.errors import InputError


@pytest.mark.parametrize(
    ("mu", "left"), [(0.9, 9.0), (0.99, 99.0), (-0.99, 0.99 / 1.99), (0.99 * np.exp(0.5j), None)]
)
def test_what_a_step_leaves_of_one_mode(mu, left):
    """x_k - x* = mu^k: the distance after the step over the step."""
    mu = complex(mu)
    measured = abs(mu**5) / abs(mu**5 - mu**4)
    assert exit_factor(mu) == pytest.approx(measured, rel=1e-12)
    assert left is None or measured == pytest.approx(left, rel=1e-12)
    assert exit_factor(1 + 0j) == np.inf


def test_what_a_step_leaves_of_several_modes():
    """Exact for an affine map: ||x_{k+1} - x*|| from x_{k+1} - x_k alone."""
    rng = np.random.default_rng(0)
    matrix = planted(rng, [0.97, 0.9 * np.exp(2j)], size=12, condition=10.0)
    e = rng.standard_normal(12)
    before, after = matrix @ e, matrix @ matrix @ e
    assert distance_left(Linear.of(matrix), after - before) == pytest.approx(
        np.linalg.norm(after), rel=1e-10
    )


def test_counts():
    assert loops_count(1.0, 0.5, 0.25) == 2
    assert loops_count(0.1, 0.5, 0.25) == 0
    assert loops_count(1.0, 0.0, 0.25) == 1
    assert loops_count(1.0, 1.0, 0.25) is None
    assert loops_count(1.7, 0.8, 1e-3) == loops_needed([1.0, 0.8], tan_start=1.7, tolerance=1e-3)
    assert first_below(np.array([0.5, 0.05, 0.2, 0.08, 0.01]), 0.1) == 3
    assert first_below(np.array([0.5, 0.2]), 0.1) is None
    assert first_below(np.array([0.01, 0.02]), 0.1) == 0


@pytest.mark.parametrize(
    "looped",
    [
        linear_map(
            planted(np.random.default_rng(1), [0.9 * np.exp(0.7j)], size=30, condition=20.0),
            np.ones(30),
        ),
        linear_map(planted(np.random.default_rng(2), [-0.93], size=30), np.ones(30)),
        normalized_map(np.diag([6.0, 5.0, 4.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0])),
        tanh_map(planted(np.random.default_rng(3), [0.85], size=30), 2 * np.ones(30)),
    ],
    ids=["pair", "alternating", "paper", "tanh"],
)
def test_the_forecast_is_what_it_takes(looped):
    found = diagnose(looped, loops=200)
    for tolerance in (1e-2, 1e-4):
        needed = found.loops_to(tolerance)
        assert abs(needed.forecast - needed.taken) <= 1, tolerance
        assert needed.bound is None or needed.bound >= needed.taken


def test_the_plain_count_is_given_only_where_it_bounds():
    normal = diagnose(linear_map(planted(np.random.default_rng(4), [0.9], size=10), np.ones(10)))
    sheared = diagnose(
        linear_map(planted(np.random.default_rng(4), [0.9], size=10, condition=50.0), np.ones(10))
    )
    assert all(
        each.bound is not None and each.bound >= each.taken for each in normal.needed if each.taken
    )
    assert all(
        each.bound is None and "bounds nothing" in each.reasons["bound"] for each in sheared.needed
    )


def test_an_exit_by_step_size_is_told_what_it_misses():
    looped = linear_map(planted(np.random.default_rng(5), [0.99], size=10, rest=0.2), np.ones(10))
    found = diagnose(looped, loops=400, tolerances=(1e-3,))
    (exit_,) = found.exits
    assert exit_.step < 1e-3
    assert exit_.left == pytest.approx(exit_.predicted, rel=1e-6)
    assert exit_.left == pytest.approx(99 * exit_.step, rel=1e-3)
    assert exit_.one_mode == pytest.approx(exit_.left, rel=1e-3)


def test_usefulness_is_the_readout_of_every_loop():
    looped = LoopedMap.numpy(lambda x: 0.5 * x, np.ones((2, 2)))
    found = diagnose(looped, loops=4, readout=lambda x: x.sum())
    np.testing.assert_allclose(found.readout, 4 * 0.5 ** np.arange(5))
    with pytest.raises(InputError, match="one finite number"):
        usefulness(orbit(looped, looped.start, loops=1), lambda x: x * np.nan, looped.state)


def test_divergence_is_kullback_and_leiblers():
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.2, 0.3, 0.5])
    naive = sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))
    assert divergence(np.log(q) + 3, np.log(p) - 2) == pytest.approx(naive, rel=1e-12)
    assert divergence(np.stack([np.log(q), np.log(p)]), np.stack([np.log(p)] * 2)) == pytest.approx(
        naive / 2
    )


@pytest.mark.parametrize("gamma", [0.5, 5.0, 50.0])
def test_the_papers_query(gamma):
    rng = np.random.default_rng(6)
    values, q = np.array([5.0, 4, 3, 3, 2, 1]), random_orthogonal(rng, 6)
    found = diagnose(normalized_map(np.eye(6) + gamma * (q * values) @ q.T, rng.standard_normal(6)))
    expected = (1 + 4 * gamma) / (1 + 5 * gamma)
    assert found.modes[0].modulus == pytest.approx(expected, abs=1e-8)
    assert found.rate.modulus == pytest.approx(expected, abs=1e-6)
    assert abs(found.modes[0].modulus - expected) <= found.modes[0].error + 1e-8
    assert found.bracket.lower <= expected + 1e-8
    assert found.bracket.upper >= expected - 1e-8
    assert found.reached
    assert found.verdict.word == "contracts"


def right(case: KnownMap) -> str:
    found = diagnose(case.looped)
    json.dumps(found.as_dict(), allow_nan=False)
    if found.verdict.word == "undecided":
        return "undecided"
    fits = found.verdict.word == case.word and (
        case.kind is None or found.modes[0].kind == case.kind
    )
    return "right" if fits else f"wrong: {case.about}, {found.verdict}"


def test_the_hundred_maps_have_their_types_and_proportions():
    words = [case.word.split()[0] for case in known_maps()]
    counts = {word: words.count(word) for word in sorted(set(words))}
    assert counts == {
        "blows": 5,
        "chaotic": 15,
        "contracts": 30,
        "grows": 15,
        "marginal": 5,
        "period": 15,
        "rotates": 15,
    }
    near = [case for case in known_maps() if "0.999" in case.about or "1.001" in case.about]
    assert len(near) == 23


def test_maps_of_known_type_are_told_apart():
    """Every tenth of the hundred; the whole is the slow test."""
    verdicts = [right(case) for case in list(known_maps(seed=1))[::10]]
    assert [each for each in verdicts if each.startswith("wrong")] == []
    assert verdicts.count("undecided") <= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_maps_of_known_type(seed):
    verdicts = [right(case) for case in known_maps(seed)]
    assert [each for each in verdicts if each.startswith("wrong")] == []
    assert verdicts.count("right") >= 98


def test_qualities_follow_the_leader_and_the_loops_asked_for():
    slow = linear_map(
        planted(np.random.default_rng(7), [-0.98], size=8), np.ones(8), shift=np.ones(8)
    )
    assert str(diagnose(slow, loops=20).verdict) == "contracts, alternating, not settled"
    assert str(diagnose(slow, loops=600).verdict) == "contracts, alternating"


def test_a_repelling_point_is_found_by_a_solver_and_not_reached():
    pair = 1.2 * np.exp(1.4j)
    found = diagnose(linear_map(planted(np.random.default_rng(8), [pair], size=40), np.ones(40)))
    assert found.verdict.word == "grows"
    assert found.point.found
    assert not found.reached
    assert found.modes[0].value == pytest.approx(pair, abs=1e-10)
    assert found.as_dict()["fixed_point"]["stability"] == "repels"
    assert found.needed is None
    assert "no attracting" in found.reasons["loops_to"]
    with pytest.raises(InputError, match="no attracting"):
        found.loops_to(1e-2)


def test_a_start_on_a_repelling_point_is_undecided():
    found = diagnose(LoopedMap.numpy(lambda x: np.tanh(2 * x), np.zeros(2)))
    assert found.verdict.word == "undecided"
    assert "repels" in found.verdict.sentence


def test_stability_by_the_radius_and_its_error():
    for value, expected in ((0.5, "attracts"), (1.5, "repels"), (1.0, "neutral")):
        looped = linear_map(np.diag([value, 0.1]), np.ones(2))
        found = diagnose(looped, norms=False)
        assert stability(found.spectrum)[0] == expected
        assert found.bracket is None
        assert "left out" in found.reasons["bracket"]


def test_the_result_has_the_keys_of_its_contract_and_null_has_a_reason():
    looped = tanh_map(0.5 * np.eye(3), np.ones(3))
    for found in (
        diagnose(looped, starts=random_starts(looped, 3), readout=lambda x: float(x @ x)),
        diagnose(LoopedMap.numpy(lambda x: x + 1.0, np.zeros(2))),
    ):
        document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
        keys = {
            "verdict",
            "fixed_point",
            "modes",
            "bracket",
            "rate",
            "lyapunov",
            "loops_to",
            "ends",
        }
        assert keys <= document.keys()
        for key in keys:
            assert document[key] is not None or document["reasons"][key]
    assert document["modes"] is None


def test_another_start_and_bad_input():
    looped = tanh_map(2 * np.eye(1), np.array([0.5]))
    assert diagnose(looped, np.array([-0.3])).states[-1][0] < 0
    with pytest.raises(InputError, match="at least 1"):
        diagnose(looped, loops=0)
    with pytest.raises(InputError, match="above 1e-150 and below 1"):
        diagnose(looped, tolerances=(2.0,))
    with pytest.raises(InputError, match="shape"):
        diagnose(looped, np.ones(3))


def test_the_same_call_gives_the_same_bits():
    looped = tanh_map(planted(np.random.default_rng(9), [0.9], size=20), np.ones(20))
    assert json.dumps(diagnose(looped).as_dict()) == json.dumps(diagnose(looped).as_dict())
