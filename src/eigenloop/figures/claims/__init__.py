"""Claims about the figures of arXiv 2606.00605: points read off them, its words on them, and
where loops end.
"""

from eigenloop.figures.claims import plateau, points, text

points_ledger, text_ledger, plateau_ledger = points.ledger, text.ledger, plateau.ledger
"""In the order in which the claims are listed."""

__all__ = ["plateau_ledger", "points_ledger", "text_ledger"]
