"""Claims: statements that are measured, findings: what came out, and measuring all of them (`eigenloop verify`)."""

from eigenloop.claims.ledger import (
    Claim,
    Curve,
    Effort,
    Finding,
    Kind,
    Ledger,
    Number,
    Plot,
    Result,
    Value,
    every,
    within,
    within_sigmas,
)

__all__ = [
    "Claim", "Curve", "Effort", "Finding", "Kind", "Ledger", "Number", "Plot", "Result", "Value", "every", "within",
    "within_sigmas",
]  # fmt: skip
