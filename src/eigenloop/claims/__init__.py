"""Claims: statements that are measured, findings: what came out, and measuring all of them
(`eigenloop verify`).
"""

from eigenloop.claims.ledger import (
    Claim,
    Curve,
    Effort,
    Finding,
    Kind,
    Ledger,
    Number,
    Plot,
    Provenance,
    Result,
    Value,
    every,
    within,
    within_sigmas,
)
from eigenloop.claims.measuring import measure
from eigenloop.claims.results import Results
from eigenloop.claims.sources import collect, select

__all__ = [
    "Claim", "Curve", "Effort", "Finding", "Kind", "Ledger", "Number", "Plot", "Provenance",
    "Result", "Results", "Value", "collect", "every", "measure", "select", "within",
    "within_sigmas",
]  # fmt: skip
