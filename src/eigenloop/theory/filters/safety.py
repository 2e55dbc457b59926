"""Which shifts converge on every X, and which beat the power method.

Repeating q <- N((S - rho I) q) converges to PS(X) from every q that is not orthogonal to it iff

    max_{i>m} |lambda_i - rho| / |lambda_1 - rho| < 1,

(for 0 < rho < lambda_1 that is 2 rho < lambda_1 + lambda_d), the factor by which tan(angle) falls
per loop. Unit columns (A1) give sum lambda_i = n, so (d - 1) lambda_1 + lambda_d >= n and lambda_1
+ lambda_d >= n/(d - 1): every 0 <= rho < n/(2 (d - 1)) converges on every X that is not tight, and
a larger rho fails on X with the spectrum n/(d - 1) (d - 1 times), 0. Nothing of this is in arXiv
2606.00605.
"""

from eigenloop.numerics.spectrum import Numbers, require_gap, sorted_eigenvalues
from eigenloop.system.errors import InputError


def safe_root(dim: int, samples: int) -> float:
    """n/(2 (d - 1)): below it a shift converges on every X with (A1) that is not tight.

    Args:
        dim: d >= 2.
        samples: n >= 1.

    Raises:
        InputError: sizes below these.

    Example:
        >>> safe_root(16, 32)
        1.0666666666666667
    """
    for name, value, least in (("dim", dim, 2), ("samples", samples, 1)):
        if value < least:
            raise InputError(f"--{name} is {value}; it must be at least {least}")
    return samples / (2 * (dim - 1))


def faster_below(eigenvalues: Numbers) -> float:
    """The border of 0 < rho below which the factor is smaller than the power method's.

        lambda_1 (lambda_{m+1} + lambda_d) / (lambda_1 + lambda_{m+1})

    For rho > 0 (lambda_{m+1} - rho)/(lambda_1 - rho) is always below lambda_{m+1}/lambda_1; what is
    left is (rho - lambda_d)/(lambda_1 - rho) < lambda_{m+1}/lambda_1. 0 where lambda_{m+1} = 0:
    nothing is faster.

    Args:
        eigenvalues: of S, any order, not all equal.

    Example:
        >>> faster_below([5, 4, 1])
        2.7777777777777777
    """
    values = sorted_eigenvalues(eigenvalues)
    top, second, least = float(values[0]), float(values[require_gap(values)]), float(values[-1])
    return top * (second + least) / (top + second) if second else 0.0


def no_worse_up_to(eigenvalues: Numbers) -> float:
    """The largest rho > 0 at which the loss is no larger than the power method's for any q and L.

        2 lambda_1 lambda_d / (lambda_1 + lambda_d)

    Coordinate j > m falls at least as fast as by the power method iff |lambda_j - rho| / (lambda_1
    - rho) <= lambda_j / lambda_1, for lambda_j < rho iff rho <= 2 lambda_1 lambda_j / (lambda_1 +
    lambda_j): least at lambda_d. Beyond it a query in span(u_1, u_d) loses.

    Args:
        eigenvalues: of S, any order, not all equal.

    Example:
        >>> no_worse_up_to([5, 4, 1])
        1.6666666666666667
    """
    values = sorted_eigenvalues(eigenvalues)
    require_gap(values)
    top, least = float(values[0]), float(values[-1])
    return 2 * top * least / (top + least)
