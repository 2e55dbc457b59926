"""The Hessian of the end-to-end loss at multiples of I, in arithmetic of any precision (mpmath): an
oracle for tests.

Nothing of the package is used, and neither is its route, moments of q contracted with an average
over the sector: here each matrix E of a basis of a sector is put into A = aI + xi E and B = bI +
eta E, M = I + ASB is multiplied out with itself L times, and the loss is a function of C = M^L
(M^L)^T alone, y = M^L q being Gaussian with that covariance:

    E[|P y|^2 / |y|^2] = int_0^inf det(1 + 2tC)^{-1/2} tr(P C (1 + 2tC)^{-1}) dt,
        P = 1 - (projection on PS).

E couples at most two coordinates (or none), so everything is 2 x 2. Numbers are polynomials c0 + c1
e + c2 e^2 in the size e of the perturbation: no difference quotient, no cancellation that more
digits do not cure.
"""

from typing import Any, NamedTuple

import mpmath as mp

Real = Any
"""mp.mpf, a class that mpmath makes at run time."""

DIGITS = 30
STEP = 0.25
"""In s = log t: the trapezoidal rule errs like e^{-2 pi^2 / step}."""
CUT = 44


class Jet(NamedTuple):
    """c0 + c1 e + c2 e^2."""

    c0: Real
    c1: Real
    c2: Real

    def __add__(self, other: "Jet") -> "Jet":  # type: ignore[override]
        return Jet(self.c0 + other.c0, self.c1 + other.c1, self.c2 + other.c2)

    def __sub__(self, other: "Jet") -> "Jet":
        return Jet(self.c0 - other.c0, self.c1 - other.c1, self.c2 - other.c2)

    def __mul__(self, other: "Jet") -> "Jet":  # type: ignore[override]
        (a, b, c), (p, q, r) = self, other
        return Jet(a * p, a * q + b * p, a * r + b * q + c * p)


class Form(NamedTuple):
    """The integrand of one perturbation: det(1 + 2tC) of what it couples, and what the rest
    adds.
    """

    trace: Jet
    determinant: Jet
    outside: Jet
    """Sum of the diagonal of C over coupled coordinates outside PS."""
    both: int
    """How many of the two coupled coordinates lie outside PS."""
    indices: tuple[int, int]


class Hessian(NamedTuple):
    """Of one sector."""

    matrix: list[list[Real]]
    """2 x 2 in (dA, dB), unit-Frobenius perturbations."""
    eigenvalues: tuple[Real, Real]
    """Ascending."""


def hessian(
    values: list[float], loops: int, a: float, b: float, *, power_method: bool = False
) -> dict[str, Hessian]:
    """Sector name -> Hessian of E[dist(y_L, PS)^2] at A = aI, B = bI; with `power_method` lim
    gamma H at a = b.
    """
    lam = sorted((mp.mpf(value) for value in values), reverse=True)
    with mp.workdps(DIGITS):
        one = mp.mpf(0 if power_method else 1)
        a, b = (mp.mpf(1), mp.mpf(1)) if power_method else (mp.mpf(a), mp.mpf(b))
        mu = [one + a * b * value for value in lam]
        smallest = min(abs(value / mu[0]) for value in mu if value != 0)
        digits = DIGITS + 10 + int(-4 * loops * mp.log10(smallest))
    with mp.workdps(digits):
        return {
            name: _sector(lam, loops, a, b, one, name)
            for name in ("antisymmetric", "symmetric traceless")
        }


def _sector(lam, loops, a, b, one, name) -> Hessian:
    """Along (a lambda_2, -b lambda_1), where u_1 does not turn to first order, and (b lambda_1, a
    lambda_2).

    In this frame each entry has its own digits, however small.
    """
    dim = len(lam)
    top = sum(value == lam[0] for value in lam)
    w, v = (a * lam[top], -b * lam[0]), (b * lam[0], a * lam[top])
    directions = [w, v, (w[0] + v[0], w[1] + v[1])]
    mu = [one + a * b * value for value in lam]
    weights = [(value / mu[0]) ** (2 * loops) for value in mu]
    sign = 1 if name.startswith("s") else -1
    pairs: dict[tuple, int] = {}
    for i in range(dim):
        for j in range(i + 1, dim):
            key = next((p for p in pairs if lam[p[0]] == lam[i] and lam[p[1]] == lam[j]), (i, j))
            pairs[key] = pairs.get(key, 0) + 1
    sums = []
    for direction in directions:
        forms = [
            (_pair(lam, top, loops, a, b, one, p, sign, direction), count)
            for p, count in pairs.items()
        ]
        diagonals = _diagonals(lam, loops, a, b, one, direction) if sign > 0 else []
        sums.append(
            _integral(weights, top, forms, diagonals)
            / (dim * (dim + sign) // 2 - (1 if sign > 0 else 0))
        )
    ww, vv, both = (2 * value for value in sums)  # second derivatives
    wv = (both - ww - vv) / 2
    square = w[0] ** 2 + w[1] ** 2
    ww, wv, vv = ww / square, wv / square, vv / square
    c, s = w[0] / mp.sqrt(square), w[1] / mp.sqrt(square)
    # v is w turned by a quarter: (-s, c)
    matrix = [
        [c * c * ww - 2 * c * s * wv + s * s * vv, c * s * (ww - vv) + (c * c - s * s) * wv],
        [c * s * (ww - vv) + (c * c - s * s) * wv, s * s * ww + 2 * c * s * wv + c * c * vv],
    ]
    half, root = (ww + vv) / 2, mp.sqrt(((ww - vv) / 2) ** 2 + wv**2)
    low = (ww * vv - wv**2) / (half + root) if half > 0 else half - root
    return Hessian(matrix, (low, 2 * half - low))


def _pair(lam, top, loops, a, b, one, pair, sign, direction) -> Form:
    """E = (e_i e_j^T + sign e_j e_i^T) / sqrt 2."""
    i, j = pair
    xi, eta = direction
    zero, root = mp.mpf(0), 1 / mp.sqrt(2)
    e = [[zero, root], [sign * root, zero]]
    s = (lam[i], lam[j])
    first = [[xi * e[p][q] * s[q] * b + eta * a * s[p] * e[p][q] for q in (0, 1)] for p in (0, 1)]
    second = [
        [xi * eta * sum(e[p][k] * s[k] * e[k][q] for k in (0, 1)) for q in (0, 1)] for p in (0, 1)
    ]
    scale = one + a * b * lam[0]
    m = [
        [
            Jet(
                *(
                    x / scale
                    for x in ((one + a * b * s[p] if p == q else zero), first[p][q], second[p][q])
                )
            )
            for q in (0, 1)
        ]
        for p in (0, 1)
    ]
    t = _power(m, loops)
    c = [[t[p][0] * t[q][0] + t[p][1] * t[q][1] for q in (0, 1)] for p in (0, 1)]
    outside = [p for p in (0, 1) if pair[p] >= top]
    total = Jet(zero, zero, zero)
    for p in outside:
        total = total + c[p][p]
    return Form(c[0][0] + c[1][1], c[0][0] * c[1][1] - c[0][1] * c[1][0], total, len(outside), pair)


def _power(m, loops):
    """M^L, L times one after the other."""
    result = m
    for _ in range(loops - 1):
        result = _times(result, m)
    return result


def _times(x, y):
    return [[x[p][0] * y[0][q] + x[p][1] * y[1][q] for q in (0, 1)] for p in (0, 1)]


def _diagonals(lam, loops, a, b, one, direction) -> list[list[Jet]]:
    """Diagonal E, an orthonormal basis (Helmert's) of those without trace: the d weights
    mu_i^{2L} of each.
    """
    xi, eta = direction
    dim, scale, found = len(lam), one + a * b * lam[0], []
    for k in range(1, dim):
        norm = mp.sqrt(k * (k + 1))
        e = [1 / norm] * k + [-k / norm] + [mp.mpf(0)] * (dim - k - 1)
        weights = []
        for value, x in zip(lam, e, strict=True):
            jet = Jet(
                (one + a * b * value) / scale,
                (xi * b + eta * a) * value * x / scale,
                xi * eta * value * x * x / scale,
            )
            power = jet
            for _ in range(2 * loops - 1):
                power = power * jet
            weights.append(power)
        found.append(weights)
    return found


def _integral(weights, top, forms, diagonals):
    """The second-order coefficient of the loss, summed over perturbations, by the trapezoidal
    rule in log t.
    """
    positive = [w for w in weights if w > 0]
    low = -CUT - 2 - mp.log(2 * len(weights) * max(weights))
    last = -mp.log(2 * min(positive))
    high = last + mp.mpf(2 * CUT) / len(positive) + 4
    total, s = mp.mpf(0), low
    while s < high:
        t = mp.exp(s)
        u = [1 / (1 + 2 * t * w) for w in weights]
        laplace = mp.sqrt(mp.fprod(u))
        loss = sum(w * v for w, v in zip(weights[top:], u[top:], strict=True))
        here = mp.mpf(0)
        for form, count in forms:
            here += count * _at(form, weights, top, u, loss, t)
        for jets in diagonals:
            here += _diagonal_at(jets, top, u, t)
        total += here * laplace * t
        s += STEP
    return total * STEP


def _at(form: Form, weights, top, u, loss, t):
    """Relative to det^{-1/2} of the unperturbed: second order of (det)^{-1/2} (rest + (outside +
    2t det n)/det').
    """
    i, j = form.indices
    rest = loss - sum(weights[k] * u[k] for k in (i, j) if k >= top)
    base = u[i] * u[j]
    d1 = (2 * t * form.trace.c1 + 4 * t * t * form.determinant.c1) * base
    d2 = (2 * t * form.trace.c2 + 4 * t * t * form.determinant.c2) * base
    n0, n1, n2 = (
        (x + 2 * t * y * (1 if form.both == 2 else 0) * 2 + (2 * t * y if form.both == 1 else 0))
        * base
        for x, y in zip(form.outside, form.determinant, strict=True)
    )
    # D^{-1/2} = 1 - d1/2 + (3/8 d1^2 - d2/2), D^{-3/2} = 1 - 3/2 d1 + (15/8 d1^2 - 3/2 d2)
    return (
        rest * (3 * d1**2 / 8 - d2 / 2) + n2 - n1 * 3 * d1 / 2 + n0 * (15 * d1**2 / 8 - 3 * d2 / 2)
    )


def _diagonal_at(jets, top, u, t):
    """The same where all weights change: prod D_k^{-1/2} sum_k w_k / D_k, D_k = 1 + 2 t w_k."""
    first = second = log_square = mp.mpf(0)
    n0 = n1 = n2 = mp.mpf(0)
    for k, (w, v) in enumerate(zip(jets, u, strict=True)):
        d1, d2 = 2 * t * w.c1 * v, 2 * t * w.c2 * v
        first += d1
        second += d2
        log_square += d1**2
        if k >= top:
            n0 += w.c0 * v
            n1 += (w.c1 - w.c0 * d1) * v
            n2 += (w.c2 - w.c1 * d1 + w.c0 * (d1**2 - d2)) * v
    # log prod D^{-1/2}: -1/2 (sum d1 e + (sum d2 - sum d1^2/2) e^2)
    p1, p2 = -first / 2, -(second - log_square / 2) / 2 + first**2 / 8
    return n2 + n1 * p1 + n0 * p2


def layerwise_in_the_plane(
    values: tuple[float, float], loss: str, a: float, b: float, *, nodes: int = 600
):
    """Sector name -> 2 x 2 Hessian of a layerwise loss in dimension 2: sums over a circle and over
    a basis of a sector.

    `loss` is "norm" (with LN), "normalized" or "unnormalized" (targets without).
    """
    root = 1 / mp.sqrt(2)
    bases = {
        "scalar": [((root, 0), (0, root))],
        "antisymmetric": [((0, root), (-root, 0))],
        "symmetric traceless": [((0, root), (root, 0)), ((root, 0), (0, -root))],
    }
    found = {}
    with mp.workdps(DIGITS):
        s, a, b = [mp.mpf(value) for value in values], mp.mpf(a), mp.mpf(b)
        for name, basis in bases.items():
            first, second, both = (
                2 * sum(_circle(s, loss, a, b, e, xi, eta, nodes) for e in basis) / len(basis)
                for xi, eta in ((1, 0), (0, 1), (1, 1))
            )
            cross = (both - first - second) / 2
            found[name] = [[first, cross], [cross, second]]
    return found


def _circle(s, loss, a, b, e, xi, eta, nodes):
    """The mean second-order coefficient over q; q and -q count alike."""
    total = mp.mpf(0)
    for k in range(nodes):
        angle = mp.pi * k / nodes
        q = (mp.cos(angle), mp.sin(angle))
        image = [s[0] * q[0], s[1] * q[1]]
        turned = [e[p][0] * image[0] + e[p][1] * image[1] for p in (0, 1)]  # E S q
        inner = [s[p] * (e[p][0] * q[0] + e[p][1] * q[1]) for p in (0, 1)]  # S E q
        last = [e[p][0] * inner[0] + e[p][1] * inner[1] for p in (0, 1)]  # E S E q
        p = [
            Jet(
                q[i] + a * b * image[i], xi * b * turned[i] + eta * a * inner[i], xi * eta * last[i]
            )
            for i in (0, 1)
        ]
        length = mp.sqrt(image[0] ** 2 + image[1] ** 2)
        target = image if loss == "unnormalized" else [x / length for x in image]
        square, along = (
            p[0] * p[0] + p[1] * p[1],
            [sum(t * x[n] for t, x in zip(target, p, strict=True)) for n in range(3)],
        )
        if loss == "norm":
            d0, d1, d2 = square.c0, square.c1 / square.c0, square.c2 / square.c0
            change = along[2] - along[1] * d1 / 2 + along[0] * (3 * d1**2 / 8 - d2 / 2)
            total += -2 * change / mp.sqrt(d0)
        else:
            total += square.c2 - 2 * along[2]
    return total / nodes
