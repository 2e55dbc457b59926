"""What the user reads out of the states, by loop: whether a loop is useful, not only whether it
settles (NumPy).

    a number          a loss, say; smaller is better
    an array          logits; KL(softmax(last loop's) || softmax(this loop's)) stands for it
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.loops.orbits import Orbit
from eigenloop.system.errors import InputError

NUMBER, LOGITS = "The readout", "KL from the last loop's readout, in nats"
"""What usefulness is."""


def usefulness(
    run: Orbit, readout: Callable[[Any], Any], state: Callable[[np.ndarray], Any]
) -> tuple[Float[np.ndarray, " k"], str]:
    """What the user reads out, at every loop asked for: a number, or the divergence of logits from
    the last loop's.

    Args:
        run: the orbit.
        readout: state, as the user has it -> one number, smaller is better; or an array of logits.
        state: flat vector -> the user's state.

    Returns:
        (one number for each loop, `NUMBER` or `LOGITS`).

    Raises:
        InputError: the readout raises, changes its shape, or returns something that is not finite.
    """
    found = []
    for k, x in enumerate(run.asked):
        try:
            value = np.asarray(readout(state(x)), dtype=np.float64)
        except InputError:
            raise
        except Exception as error:  # a user's own code may raise anything
            raise InputError(
                f"the readout of loop {k} raises {type(error).__name__}: {error}"
            ) from error
        if not value.size or not np.isfinite(value).all():
            raise InputError(
                f"the readout of loop {k} is {value!r}; it must return one finite number, or an"
                f" array of logits"
            )
        if found and value.shape != found[0].shape:
            raise InputError(
                f"the readout has shape {value.shape} at loop {k}, and {found[0].shape} before;"
                f" return one shape"
            )
        found.append(value)
    if found[0].size == 1:
        return np.array([float(value.reshape(())) for value in found]), NUMBER
    return np.array([divergence(value, found[-1]) for value in found]), LOGITS


def divergence(logits: Float[np.ndarray, "*b v"], last: Float[np.ndarray, "*b v"]) -> float:
    """Mean KL(softmax(last) || softmax(logits)) over all but the last axis, in nats.

    Example:
        >>> divergence(np.zeros((1, 2)), np.zeros((1, 2)))
        0.0
    """

    def logs(z: np.ndarray) -> np.ndarray:
        shifted = z - z.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    p, q = logs(last), logs(logits)
    return float(np.mean(np.sum(np.exp(p) * (p - q), axis=-1)))
