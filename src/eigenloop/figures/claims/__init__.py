"""Claims about the figures of arXiv 2606.00605: the points that were read off them, and what its text says of them."""

from eigenloop.figures.claims.points import ledger as points_ledger
from eigenloop.figures.claims.text import ledger as text_ledger

__all__ = ["points_ledger", "text_ledger"]
