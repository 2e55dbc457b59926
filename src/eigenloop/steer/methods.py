"""Methods of steering: a layer, a direction u and a strength c become new weights (NumPy, float64).

    signed       F' = F - lost + kappa u mu^T    inside one head;  kappa = c |stream| / mean(mu . x)
    bias  b_O' = b_O + c |stream| u  activation addition at the sublayer's output, stored as weights
    swap         F' = F + c (lambda_1 I - F) u l^T
        every eigenvalue and the left vector stay; all heads change
    swap-heads   the same for each head with its own lambda_1 and l
    symmetric    F' = F - lost + kappa u u^T
        goes to +u or -u with the sign of u . x: a baseline that fails
    brauer       the principal mode removed, F (I - v_1 l^T), then `symmetric`: the same

None but `bias` needs a bias, and none a hook. mu . x > 0 for every token makes `signed` push every
token the same way, because the rows of an attention pattern are non-negative and sum to 1.

One component of a head makes room. Its values z = W_V x + b_V lose the direction p that is seen by
q, q . p = 1:

    W_V' = W_V + p (alpha mu^T - q^T W_V)  W_O' = W_O + (beta u - W_O p) q^T      alpha beta = kappa
    W_O' W_V' = W_O W_V - W_O p q^T W_V + kappa u mu^T

so each matrix changes by rank one. With z of covariance Sigma over the calibration text and R from
W_O = Q R, the pair p, q of least loss |W_O p|^2 q^T Sigma q comes from the smallest singular value
of R Sigma^(1/2); for inputs without any preference, Sigma = W_V W_V^T, it is the smallest singular
value of F_h. The mean of what is lost goes to b_O where there is one. Under grouped queries W_V
belongs to a group of heads, and the group is edited as one: p is taken out of all of them, and each
writes its share of u.

Source: arXiv 2605.25619 for the idea of turning the principal eigenvector; the methods are worked
out here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from eigenloop.lens.weights.circuits import Circuit
from eigenloop.lens.weights.modes import principal
from eigenloop.lens.weights.operators import Growth, Operator
from eigenloop.steer.edits import CONSENSUS, Edit, Room, Site
from eigenloop.system.errors import InputError

Method = Callable[..., Edit]
"""(site, direction, strength=c) -> edit."""

JITTER = 1e-12
"""Added to two Gram matrices, relative to their trace, so that a head without full rank has
factors too.
"""

LOWEST_OVERLAP = 1e-6
"""Smallest |l . u| / (|l| |u|) for which an eigenvector can be swapped."""


def room(site: Site, group: int) -> Room:
    """The component of a group's values that the layer's output loses least by on the calibration
    text.

    It is found once for each site and group: neither a direction nor a strength enters.

    Raises:
        InputError: the heads have one component only, which is the whole head.
    """
    if group not in site.rooms:
        site.rooms[group] = _least(site, group)
    return site.rooms[group]


def _least(site: Site, group: int) -> Room:
    """From one singular value decomposition: see the module."""
    circuit, reading = site.circuit, site.reading
    value = circuit.value[group].astype(np.float64)
    if len(value) < 2:
        raise InputError(
            f"the heads of layer {circuit.layer} have 1 component each, so an edit would replace a"
            " whole head; use --method swap or bias"
        )
    output = np.concatenate(
        [circuit.output[head].astype(np.float64) for head in members(circuit, group)]
    )
    seen = value @ reading.covariance @ value.T
    if not site.output_bias:
        mean = value @ reading.mean + circuit.value_bias[group]
        seen = seen + np.outer(mean, mean)
    written = output.T @ output
    upper, lower = _root(written).T, _root(seen)
    left, _, right = np.linalg.svd(upper @ lower)
    p, q = np.linalg.solve(upper, left[:, -1]), np.linalg.solve(lower.T, right[-1])
    p = p / np.linalg.norm(p)
    q = q / (q @ p)
    return Room(group, p, q, float(np.linalg.norm(output @ p) * np.sqrt(max(q @ seen @ q, 0.0))))


def members(circuit: Circuit, group: int) -> tuple[int, ...]:
    """The heads that read a group's values.

    Example:
        >>> from eigenloop.lens import planted
        >>> members(planted(np.eye(2)), 0)
        (0,)
    """
    return tuple(head for head in range(circuit.heads) if circuit.group(head) == group)


def signed(site: Site, direction: Float[np.ndarray, " d"], *, strength: float) -> Edit:
    """Write kappa u mu^T into the head that loses least by it.

        kappa = c |stream| / mean(mu . x)

    Args:
        site: the layer.
        direction: u, (d,), unit.
        strength: c, the push relative to the stream; 0 changes nothing and a negative one pushes
            away.

    Raises:
        InputError: mu . x is not positive on the tokens kept aside, or the heads have no room.
    """
    reading = site.reading
    if strength and (reading.positive < 1 or not reading.push > 0):
        raise InputError(
            f"layer {site.circuit.layer} reads no common mean: mu . x > 0 for"
            f" {100 * reading.positive:.4g} % of the calibration tokens kept aside, so a signed"
            " edit would push the others the wrong way; choose other --layers"
            + (" or --method bias" if site.output_bias else "")
        )
    return _planted(
        site,
        direction,
        reading.mu,
        strength * reading.size / reading.push if strength else 0.0,
        "signed",
    )


def symmetric(site: Site, direction: Float[np.ndarray, " d"], *, strength: float) -> Edit:
    """Write kappa u u^T into the head that loses least by it, a baseline: the push has the sign of
    u . x.

        kappa = c |stream| / sqrt(mean (u . x)^2)

    Args:
        site: the layer.
        direction: u, (d,), unit.
        strength: c.
    """
    kappa = strength * site.reading.size / site.reading.typical(direction) if strength else 0.0
    return _planted(site, direction, direction, kappa, "symmetric")


def brauer(site: Site, direction: Float[np.ndarray, " d"], *, strength: float) -> Edit:
    """Take the principal mode away, then write kappa u u^T: a baseline that fails as `symmetric`
    does.

        F (I - v_1 l^T) has the eigenvalues of F with 0 in the place of lambda_1 (Brauer)

    Args:
        site: the layer.
        direction: u, (d,), unit.
        strength: c.

    Raises:
        InputError: the principal eigenvalue is not real, or zero.
    """
    if not strength:
        return _unchanged(site, "brauer")
    value, right, left = _real_leader(site.circuit)
    heads = range(site.circuit.heads)
    removed = _output_changed(site, dict.fromkeys(heads, (-right, left)), method="brauer")
    edit = symmetric(replace(site, circuit=removed.after), direction, strength=strength)
    change = {h: _stacked(removed.change.get(h), edit.change.get(h)) for h in heads}
    return replace(
        edit,
        method="brauer",
        before=site.circuit,
        heads=tuple(heads),
        change=change,
        bias=_added(removed.bias, edit.bias),
        note=f"lambda_1 = {value:.4g} removed",
    )


def swap(site: Site, direction: Float[np.ndarray, " d"], *, strength: float) -> Edit:
    """Put u in the place of the principal right eigenvector; every eigenvalue and the left vector
    stay.

        F' = F + c (lambda_1 I - F) u l^T,    l . v_1 = l . u = 1
        W_O' = W_O + c (lambda_1 I - F) u l^T W_O / lambda_1

    b_O takes (W_O - W_O') b_V, so that b_eff stays. An eigenvector has no sign: tokens go to +u or
    -u with the sign of their left coordinate.

    Args:
        site: the layer.
        direction: u, (d,), unit.
        strength: c in [0, 1], the part of the way; 1 is the exact swap.

    Raises:
        InputError: the principal eigenvalue is not real or is zero, or l . u is (nearly) zero, or c
            is not in [0, 1].
    """
    require_strength(strength, "swap")
    if not strength:
        return _unchanged(site, "swap")
    value, _, left = _real_leader(site.circuit)
    scaled = _overlapping(left, direction, site.circuit.layer)
    column = strength * (value * scaled - _times(site.circuit, scaled)) / value
    edit = _output_changed(
        site, dict.fromkeys(range(site.circuit.heads), (column, left)), method="swap"
    )
    return replace(
        edit, note=f"lambda_1 = {value:.4g}, l . u / |l| = {1 / np.linalg.norm(scaled):.3g}"
    )


def swap_heads(site: Site, direction: Float[np.ndarray, " d"], *, strength: float) -> Edit:
    """The same as `swap` in each head whose own leading eigenvalue is real; the others stay.

    Args:
        site: the layer.
        direction: u, (d,), unit.
        strength: c in [0, 1].

    Raises:
        InputError: no head has a real leading eigenvalue, or c is not in [0, 1].
    """
    require_strength(strength, "swap-heads")
    if not strength:
        return _unchanged(site, "swap-heads")
    pairs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for head in range(site.circuit.heads):
        output, values = site.circuit.factors(head)
        mode = principal(Operator(left=output, right=values), Growth())
        if mode.flag in ("positive", "negative"):
            value = mode.eigenvalue.real
            scaled = _overlapping(np.real(mode.left), direction, site.circuit.layer)
            column = strength * (value * scaled - output @ (values @ scaled)) / value
            pairs[head] = column, np.real(mode.left)
    if not pairs:
        raise InputError(
            f"no head of layer {site.circuit.layer} has a real leading eigenvalue, so there is none"
            " to swap; use --method signed"
        )
    edit = _output_changed(site, pairs, method="swap-heads")
    return replace(
        edit, note=f"{len(pairs)} of {site.circuit.heads} heads have a real leading eigenvalue"
    )


def bias(site: Site, direction: Float[np.ndarray, " d"], *, strength: float) -> Edit:
    """Add c |stream| u to b_O: activation addition at the sublayer's output, the same for every
    token.

    Args:
        site: the layer.
        direction: u, (d,), unit.
        strength: c.

    Raises:
        InputError: the model has no bias there.
    """
    if not site.output_bias:
        raise InputError(
            f"layer {site.circuit.layer} has no output bias to write to; use --method signed, which"
            " needs none"
        )
    added = strength * site.reading.size * direction
    after = replace(site.circuit, output_bias=site.circuit.output_bias.astype(np.float64) + added)
    return Edit(
        method="bias",
        before=site.circuit,
        after=after,
        bias=added,
        note="equals activation addition",
    )


METHODS: Mapping[str, Method] = {
    "signed": signed,
    "bias": bias,
    "swap": swap,
    "swap-heads": swap_heads,
    "symmetric": symmetric,
    "brauer": brauer,
}
"""Every method by its name on the command line."""
STRENGTHS: Mapping[str, tuple[float, float]] = dict.fromkeys(
    ("tuned", *METHODS), (-2.0, 2.0)
) | dict.fromkeys(("swap", "swap-heads"), (0.0, 1.0))
"""The strengths that a method takes: of a swap it is the part of the way to the direction, of
the others a multiple.
"""


def require_strength(strength: float, method: str) -> None:
    """Refuse a strength that a method does not take.

    Raises:
        InputError: outside `STRENGTHS`, or no number.
    """
    low, high = STRENGTHS[method]
    if not low <= strength <= high:
        what = ", the part of the way" if low == 0 else ""
        raise InputError(
            f"--strength is {strength:g}; for --method {method} it is from {low:g} to"
            f" {high:g}{what}"
        )


# --- the pieces


def _planted(site: Site, u: np.ndarray, mu: np.ndarray, kappa: float, method: str) -> Edit:
    """F_h' = F_h - W_O p q^T W_V + kappa u mu^T in the group that loses least."""
    if not kappa:
        return _unchanged(site, method)
    circuit, reading = site.circuit, site.reading
    best = min(
        (room(site, group) for group in range(len(circuit.value))), key=lambda found: found.loss
    )
    p, q, heads = best.p, best.q, members(circuit, best.group)
    old_value = circuit.value[best.group].astype(np.float64)
    # |p| = 1: both rank-one terms have the same length
    alpha = np.sqrt(abs(kappa) * np.linalg.norm(q))
    beta = kappa / alpha / len(heads)
    value, output = circuit.value.astype(np.float64), circuit.output.astype(np.float64)
    value[best.group] += np.outer(p, alpha * mu - q @ old_value)
    lost = {head: output[head] @ p for head in heads}
    for head in heads:
        output[head] += np.outer(beta * u - lost[head], q)
    change = {
        h: (np.stack([-lost[h], kappa / len(heads) * u], 1), np.stack([q @ old_value, mu]))
        for h in heads
    }
    old_bias = circuit.value_bias[best.group].astype(np.float64)
    value_bias, output_bias = (
        circuit.value_bias.astype(np.float64),
        circuit.output_bias.astype(np.float64),
    )
    everything, added = sum(lost.values()), np.zeros(circuit.width)
    if site.output_bias:
        moved = sum((circuit.output[h].astype(np.float64) - output[h]) @ old_bias for h in heads)
        added = everything * (q @ (old_value @ reading.mean))
        output_bias += moved + added
    elif site.value_bias:
        value_bias[best.group] -= p * (q @ old_bias)
        added = -everything * (q @ old_bias)
    after = replace(
        circuit, output=output, value=value, value_bias=value_bias, output_bias=output_bias
    )
    return Edit(
        method=method,
        before=circuit,
        after=after,
        heads=heads,
        kappa=kappa,
        change=change,
        bias=added,
        loss=best.loss / reading.size,
    )


def _output_changed(
    site: Site, pairs: Mapping[int, tuple[np.ndarray, np.ndarray]], *, method: str
) -> Edit:
    """W_O^h' = W_O^h + a l^T W_O^h for each head's pair (a, l), b_eff kept."""
    circuit = site.circuit
    output, moved, change = circuit.output.astype(np.float64), np.zeros(circuit.width), {}
    for head, (column, left) in pairs.items():
        row = left @ output[head]
        output[head] += np.outer(column, row)
        group = circuit.group(head)
        change[head] = column[:, None], (row @ circuit.value[group].astype(np.float64))[None]
        moved -= column * (row @ circuit.value_bias[group].astype(np.float64))
    output_bias, kept = circuit.output_bias.astype(np.float64), site.output_bias
    after = replace(
        circuit, output=output, output_bias=output_bias + moved if kept else output_bias
    )
    return Edit(
        method=method,
        before=circuit,
        after=after,
        heads=tuple(pairs),
        change=change,
        bias=np.zeros(circuit.width) if kept else -moved,
    )


def _unchanged(site: Site, method: str) -> Edit:
    return Edit(
        method=method, before=site.circuit, after=site.circuit, bias=np.zeros(site.circuit.width)
    )


def _real_leader(circuit: Circuit) -> tuple[float, np.ndarray, np.ndarray]:
    left, right = circuit.summed_factors()
    mode = principal(Operator(left=left, right=right), CONSENSUS)
    if mode.flag not in ("positive", "negative"):
        what = "complex" if mode.flag == "complex" else "zero"
        raise InputError(
            f"the leading eigenvalue of layer {circuit.layer} is {what}, so it has no eigenvector"
            " to replace; choose other --layers or --method signed"
        )
    return mode.eigenvalue.real, np.real(mode.right), np.real(mode.left)


def _overlapping(left: np.ndarray, direction: np.ndarray, layer: int) -> np.ndarray:
    """U scaled to l . u = 1."""
    overlap = float(left @ direction)
    if abs(overlap) < LOWEST_OVERLAP * np.linalg.norm(left) * np.linalg.norm(direction):
        raise InputError(
            f"layer {layer} does not read the direction (l . u / |l| ="
            f" {overlap / np.linalg.norm(left):.2g}), so it cannot become an eigenvector with this"
            " left vector; use --method signed"
        )
    return direction / overlap


def _times(circuit: Circuit, x: np.ndarray) -> np.ndarray:
    left, right = circuit.summed_factors()
    return left.astype(np.float64) @ (right.astype(np.float64) @ x)


def _root(gram: np.ndarray) -> np.ndarray:
    """Lower triangular C with C C^T = gram, a little more on the diagonal."""
    size = len(gram)
    ridge = JITTER * (np.trace(gram) / size or 1.0)
    return np.linalg.cholesky(gram + ridge * np.eye(size))


def _stacked(
    first: tuple[np.ndarray, np.ndarray] | None, second: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    pairs = [pair for pair in (first, second) if pair is not None]
    return np.concatenate([left for left, _ in pairs], axis=1), np.concatenate(
        [right for _, right in pairs]
    )


def _added(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray:
    parts = [part for part in (first, second) if part is not None]
    return np.sum(parts, axis=0)
