"""Is the scalar manifold A = aI, B = bI stable? The population Hessian there, exactly, in its three
sectors.

`modes` has the sectors, the Hessian and its eigenvalues; the integrals are in `end_to_end` (Theorem
4.1's loss) and `layerwise` (those of Theorems 4.2 and 4.3).
"""

from eigenloop.theory.stability.modes import (
    Lowest,
    Mode,
    Sector,
    hessian,
    limit_hessian,
    lowest_eigenvalue,
    sectors,
    sharpness,
    symmetric_eigenvalues,
)

__all__ = [
    "Lowest",
    "Mode",
    "Sector",
    "hessian",
    "limit_hessian",
    "lowest_eigenvalue",
    "sectors",
    "sharpness",
    "symmetric_eigenvalues",
]
