"""The ledger of Theorems 4.1 to 4.3, and what they are measured on: Task 2, whose expectations
are exact.
"""

from eigenloop.claims import Ledger
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.population import EndToEnd, LayerwiseNorm, Target

ledger = Ledger("arXiv 2606.00605")

RATE = 0.1
LOOPS = 10
SLOW = (
    "both approach their limits with a relative error of the order of 1/gamma, here taken at the"
    " start of the fit"
)
LOOPED = EndToEnd(DEFAULT_MULTIPLICITIES, LOOPS)
SINGLE = LayerwiseNorm(DEFAULT_MULTIPLICITIES)
SIGMAS = 6.0
TARGETS: tuple[Target, Target] = ("normalized", "unnormalized")
SMALL_RATE, SMALL_STEPS = 0.1, 200
"""Of the full model in d = 2."""
POINTS = ((1.3, 0.4), (1.0, 0.05), (2.0, 1.5))
"""(a, b) where sampled gradients are compared with multiples of I: on the way, near the start,
and late.
"""
LAST = 1e12
"""Steps to which population gradient descent is followed."""
