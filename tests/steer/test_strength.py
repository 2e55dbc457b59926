"""The search ends at the goal within its runs, keeps its curve, and says what cannot be reached."""

import numpy as np
import pytest

from eigenloop.steer.strength import ACCURACY, EVALUATIONS, search
from eigenloop.system.errors import InputError


@pytest.mark.parametrize("goal", [0.001, 0.1, 0.5, 0.95])
def test_it_finds_a_saturating_dose(goal):
    calls = []

    def measure(c: float) -> float:
        calls.append(c)
        return c / np.hypot(c, 0.3)

    found = search(measure, goal)
    assert abs(found.value - goal) <= ACCURACY * goal
    assert len(calls) == len(found.curve) <= EVALUATIONS
    assert found.curve[0][0] == 0.0
    assert dict(found.curve)[found.strength] == found.value


def test_a_jump_ends_within_its_runs_above_the_goal():
    found = search(lambda c: float(c > 0.173), 0.5)
    assert found.value == 1.0
    assert 0.173 < found.strength < 0.25
    assert len(found.curve) == EVALUATIONS


@pytest.mark.parametrize("goal", [0.1, 0.0, -0.001, -0.6])
def test_a_goal_below_what_there_is_is_met_by_steering_away(goal):
    """The search for goal and measure is that for -goal and -measure(-c), to the last bit."""

    def measure(c: float) -> float:
        return (c + 0.05) / np.hypot(c + 0.05, 0.3)

    found, mirrored = search(measure, goal, away=True), search(lambda c: -measure(-c), -goal)
    assert (found.strength, found.value) == (-mirrored.strength, -mirrored.value)
    assert found.strength < 0
    assert abs(found.value - goal) <= max(ACCURACY * abs(goal), 1e-6)
    assert found.curve == tuple((-c + 0.0, -value) for c, value in reversed(mirrored.curve))


def test_what_is_not_reached_away_is_said_with_its_own_signs():
    with pytest.raises(
        InputError,
        match=r"--target is -0.9, but strength -2 reaches -0.5 and no strength down to -2",
    ):
        search(lambda c: 0.25 * c, -0.9, away=True)


def test_what_is_not_reached_is_said():
    with pytest.raises(
        InputError,
        match=r"--target is 0.9, but strength 2 reaches 0.5 and no strength up to 2 more",
    ):
        search(lambda c: 0.25 * c, 0.9)
    with pytest.raises(
        InputError, match=r"without any edit the model has 0.2; ask for more than that"
    ):
        search(lambda c: 0.2 + c, 0.1)
