"""What "leads" can mean: the operator and the growth factor of each rule.

    modulus     mu = lambda(F)              the power method on F alone
    consensus   mu = 1 + lambda(F)          x + F x: the mean token under uniform attention
    layernorm   pre:  mu = 1 + lambda(F diag(gain) P) / sigma    with sigma the tokens' scale
                post: mu = lambda(diag(gain) P (I + F))          up to the division by sigma
                (RMSNorm has no P; a head of a post-LN layer: lambda(diag(gain) P F_h), its own
                contribution)

Source: arXiv 2605.25619 for modulus; the other two follow from the residual connection and the
normalisation.
"""

from collections.abc import Sequence

import numpy as np

from eigenloop.lens.model.layouts import Placement
from eigenloop.lens.weights.circuits import Circuit
from eigenloop.lens.weights.operators import Growth, Operator
from eigenloop.system.errors import InputError

RULES = ("modulus", "consensus", "layernorm")
"""What "leads" can mean."""


def leading(rules: Sequence[str]) -> str:
    """The rule that results are told by: "consensus" where it was asked for, the first one
    otherwise.

    Raises:
        InputError: there is none, or one does not exist.

    Example:
        >>> leading(["modulus", "consensus"])
        'consensus'
    """
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown or not rules:
        raise InputError(
            f"rule {unknown[0] if rules else ''!r} does not exist; choose {', '.join(RULES)}"
        )
    return "consensus" if "consensus" in rules else rules[0]


def growth(circuit: Circuit, rule: str, *, sigma: float = 1.0) -> Growth:
    """The growth factor that a rule gives to an eigenvalue of its operator.

    Args:
        circuit: one layer, for the placement of its normalisation.
        rule: "modulus", "consensus" or "layernorm".
        sigma: the tokens' scale, used by "layernorm" before the attention.

    Raises:
        InputError: no such rule, or sigma is not positive.
    """
    if rule not in RULES:
        raise InputError(f"rule {rule!r} does not exist; choose {', '.join(RULES)}")
    if not 0 < sigma < float("inf"):
        raise InputError(f"sigma is {sigma:g}; the scale of tokens is a finite number above 0")
    return growth_at(circuit.norm.placement, rule, sigma)


def growth_at(placement: Placement, rule: str, sigma: float) -> Growth:
    """The same for a normalisation before or after the attention; rule and sigma are not
    checked.
    """
    if rule == "layernorm" and placement == "pre":
        return Growth(shift=1.0, scale=sigma)
    return Growth(shift=float(rule == "consensus"))


def operator(circuit: Circuit, *, head: int | None = None) -> Operator:
    """What multiplies the stream: of a raw circuit F or F_h, of a folded one F or F_h with what was
    folded in.

    A folded circuit whose normalisation comes after the attention carries the residual connection
    along, except for a single head: diag(gain) P (I + F).

    Args:
        circuit: one layer, raw or folded.
        head: one head in place of their sum.

    Raises:
        InputError: no such head.
    """
    if head is not None:
        left, right = circuit.factors(head)
        return Operator(left=left, right=right, formula=circuit.operator.replace("F", f"F_{head}"))
    left, right = circuit.summed_factors()
    if circuit.norm.placement == "pre":
        gain = circuit.norm.gain if circuit.gain else None
        return Operator(
            left=left, right=right, gain=gain, center=circuit.center, formula=circuit.operator
        )
    if circuit.operator == "F":
        return Operator(left=left, right=right)
    left = circuit.norm.after(left, gain=circuit.gain, center=circuit.center)
    base = circuit.norm.after(np.eye(circuit.width), gain=circuit.gain, center=circuit.center)
    return Operator(
        left=left, right=right, base=base, formula=circuit.operator.replace("F", "(I + F)")
    )
