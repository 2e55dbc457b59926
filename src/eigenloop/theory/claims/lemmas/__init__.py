"""The lemmas, remarks and assumptions of arXiv 2606.00605 as claims; `ledger` holds them in the paper's order.

`data` has Assumption 3.2 and Example 3.3, `looped` Appendix A, `linear` Appendix B, `layerwise` Appendix C and
`auxiliary` Appendix F. `oracle` is what they measure with: the full 2d x 2d model, differentiated as it stands.
"""

from eigenloop.theory.claims.lemmas import auxiliary, data, layerwise, linear, looped
from eigenloop.theory.claims.lemmas.book import ledger

ORDER = (("ass", "ex"), ("lemA",), ("lemB", "rem.B"), ("lemC",), ("lemF", "rem.F"))
"""Identifiers begin like this, in the paper's order."""

ledger.claims.sort(key=lambda claim: next(i for i, begin in enumerate(ORDER) if claim.id.startswith(begin)))

__all__ = ["auxiliary", "data", "layerwise", "ledger", "linear", "looped"]
