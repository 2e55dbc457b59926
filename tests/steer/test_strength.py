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


def test_what_is_not_reached_is_said():
    with pytest.raises(InputError, match=r"--target is 0.9, but strength 2 reaches 0.5 and no strength up to 2 more"):
        search(lambda c: 0.25 * c, 0.9)
    with pytest.raises(InputError, match=r"without any edit the model has 0.2; ask for more than that"):
        search(lambda c: 0.2 + c, 0.1)
