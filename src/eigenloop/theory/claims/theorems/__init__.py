"""Theorems 4.1, 4.2 and 4.3 of arXiv 2606.00605 as claims: what each states of training, measured.

`looped` has Theorem 4.1, `linear` Theorem 4.2 and `layerwise` Theorem 4.3, on Task 2 (d = 16, n =
32, the default multiplicities), where expectations are exact. Theorems 4.6 and 4.7 are in
`eigenloop.theory.claims.power_method`, the lemmas in `eigenloop.theory.claims.lemmas`. In
quotations [..] stands for a formula that our copy of the paper lacks.
"""

from eigenloop.theory.claims.theorems import looped, linear, layerwise  # isort: skip  # in the theorems' order
from eigenloop.theory.claims.theorems.book import LAST, LOOPED, LOOPS, RATE, SINGLE, TARGETS, ledger
from eigenloop.theory.claims.theorems.shared import nearest

__all__ = [
    "LAST",
    "LOOPED",
    "LOOPS",
    "RATE",
    "SINGLE",
    "TARGETS",
    "layerwise",
    "ledger",
    "linear",
    "looped",
    "nearest",
]
