"""The lemmas, remarks and assumptions of arXiv 2606.00605 as claims; `ledger` holds them in the
paper's order.

`data` has Assumption 3.2 and Example 3.3, `looped` and `looped_descent` Appendix A, `linear`
Appendix B, `layerwise` and `layerwise_descent` Appendix C, and `auxiliary` Appendix F.
`oracle` is what they measure with: the full 2d x 2d model, differentiated as it stands.
"""

import re

from eigenloop.theory.claims.lemmas import (
    auxiliary,
    data,
    layerwise,
    layerwise_descent,
    linear,
    looped,
    looped_descent,
)
from eigenloop.theory.claims.lemmas.book import ledger

ORDER = (("ass", "ex"), ("lemA",), ("lemB", "rem.B"), ("lemC",), ("lemF", "rem.F"))
"""Identifiers begin like this, in the paper's order."""


def place(id: str) -> tuple[int, int]:
    """Where an identifier stands in the paper: appendix, then the number of the lemma.

    Example:
        >>> place("lemB.1") < place("rem.B.2.suboptimal") < place("lemB.3.rate") < place("lemC.1")
        True
    """
    number = re.search(r"[A-Z]\.(\d+)", id)
    return next(i for i, begin in enumerate(ORDER) if id.startswith(begin)), int(
        number[1]
    ) if number else 0


ledger.claims.sort(key=lambda claim: place(claim.id))

__all__ = [
    "auxiliary",
    "data",
    "layerwise",
    "layerwise_descent",
    "ledger",
    "linear",
    "looped",
    "looped_descent",
]
