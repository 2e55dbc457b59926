"""Past gamma = infinity as claims: the shifted power method, who finds it, where it is safe.

None of it is in arXiv 2606.00605. All statements are about scalar weights and the population, exact
integrals over q, unless they say otherwise. `naive` is what they are measured with.
"""

from eigenloop.theory.claims.filters import landscape, training, layers, safety  # isort: skip
from eigenloop.theory.claims.filters.book import ledger

__all__ = ["landscape", "layers", "ledger", "safety", "training"]
