"""What a head looks at beside what it moves: its QK circuit next to the principal mode of its OV
circuit (NumPy).

The score of a query token x_i for a key token x_j is x_i^T M_h x_j, up to a scale, biases and
rotations, with

    M_h = W_Q^h^T W_K^g(h) = sum_k s_k a_k b_k^T        a_k on the query's side, b_k on the key's
    symmetric share  ||(M + M^T)/2||^2 / ||M||^2 = 1/2 + tr(M M) / (2 ||M||^2)
        1/2 + 1/(2d) for a random M

of rank d_head: eigenvalues are those of W_K W_Q^T, singular values come of two thin QR
factorisations. How much of F_h's principal mode lies in the leading singular subspaces A_k, B_k is
||A_k^T Q||^2 / m for an orthonormal basis Q of its m dimensions, k/d for a random direction. Worked
out here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from eigenloop.lens.model.layouts import Layout
from eigenloop.lens.model.results import TabularResult, called, pair
from eigenloop.lens.weights.modes import Mode, Spectrum
from eigenloop.lens.weights.operators import Growth, Operator
from eigenloop.lens.weights.rules import RULES
from eigenloop.lens.weights.spectra import chosen_layers
from eigenloop.lens.weights.subject import Subject
from eigenloop.system.errors import InputError
from eigenloop.system.progress import Progress, silent

SHARE = 0.5
"""The leading subspaces hold this share of ||M_h||^2."""

OVERLAPS = ("write_query", "write_key", "read_query", "read_key")
"""F_h's right (write) and left (read) vectors in the leading subspaces on the query's and the
key's side.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryKey:
    """The QK circuit of one head, beside the principal mode of its OV circuit.

    Args:
        layer: index of the block.
        head: index of the head.
        singular: singular values of M_h, falling, (d_head,).
        query: a_k, columns, (d, d_head).
        key: b_k, columns, (d, d_head).
        mode: the eigenvalue of M_h of largest modulus, with its vectors and its certificate.
        symmetric: share of ||M_h||^2 in its symmetric part; the antisymmetric part has the rest.
        rank: k, the fewest singular values that hold `SHARE` of ||M_h||^2.
        overlaps: by the names in `OVERLAPS`; chance is rank / d.
        ov: the principal mode of F_h.
        bias: ||W_K^T b_Q|| + ||W_Q^T b_K||, the size of what the biases add and M_h leaves out.
    """

    layer: int
    head: int
    singular: Float[np.ndarray, " k"]
    query: Float[np.ndarray, "d k"]
    key: Float[np.ndarray, "d k"]
    mode: Mode
    symmetric: float
    rank: int
    overlaps: dict[str, float]
    ov: Mode
    bias: float

    @property
    def chance(self) -> float:
        """Mean overlap of a random direction, rank / d."""
        return self.rank / len(self.query)


def query_key(
    query: Float[np.ndarray, "k d"],
    key: Float[np.ndarray, "k d"],
    ov: Mode,
    *,
    layer: int = 0,
    head: int = 0,
    bias: float = 0.0,
) -> QueryKey:
    """M = W_Q^T W_K of one head from its factors.

    Args:
        query: W_Q^h.
        key: W_K^g(h).
        ov: the principal mode of F_h.
        layer: for the result.
        head: for the result.
        bias: for the result.

    Example:
        >>> from eigenloop.lens import planted, layer_spectra
        >>> ov = layer_spectra(planted(np.diag([2.0, 1.0, 0.0]))).modes["modulus"]
        >>> found = query_key(np.eye(3)[:2], np.eye(3)[[1, 0]], ov)
        >>> found.symmetric, found.singular, round(found.overlaps["write_query"], 12)
        (1.0, array([1., 1.]), 1.0)
    """
    query, key = query.astype(np.float64), key.astype(np.float64)
    q, r = np.linalg.qr(query.T)
    p, t = np.linalg.qr(key.T)
    inner = np.linalg.svd(r @ t.T)
    singular, left, right = inner.S, q @ inner.U, p @ inner.Vh.T
    square = float(singular @ singular)
    core = key @ query.T
    symmetric = 0.5 + float(np.sum(core * core.T)) / (2 * square) if square else 0.5
    rank = (
        int(np.searchsorted(np.cumsum(singular**2), SHARE * square * (1 - 1e-12))) + 1
        if square
        else len(singular)
    )
    found = Spectrum(Operator(left=query.T, right=key, formula="W_Q^T W_K")).principal(Growth())
    planes = {"write": ov.plane(), "read": ov.left_plane()}
    sides = {"query": left[:, :rank], "key": right[:, :rank]}
    overlaps = {
        f"{act}_{name}": float(np.sum((side.T @ plane) ** 2) / plane.shape[1])
        for act, plane in planes.items()
        for name, side in sides.items()
    }
    return QueryKey(
        layer=layer,
        head=head,
        singular=singular,
        query=left,
        key=right,
        mode=found,
        symmetric=symmetric,
        rank=rank,
        overlaps=overlaps,
        ov=ov,
        bias=bias,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryKeys(TabularResult):
    """The QK circuits of a model's heads beside their OV circuits.

    Args:
        source: the model, as it was named.
        model_type: its architecture.
        rule: by which the modes of F_h lead.
        width: d.
        groups: groups of heads that share keys.
        rotary: queries and keys are rotated by their positions, which M_h leaves out.
        heads: what was found, by layer and head.
        remarks: what the layout leaves unread.
        unit: what a block is called (`called`).
    """

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "layer",
        "head",
        "singular_1",
        "singular_2",
        "norm",
        "eigenvalue_re",
        "eigenvalue_im",
        "flag",
        "gap",
        "symmetric",
        "rank",
        "chance",
        *OVERLAPS,
        "ov_eigenvalue_re",
        "ov_eigenvalue_im",
        "ov_flag",
        "bias",
    )
    """Columns of the table and of querykey.csv, one row for each head."""
    FILE: ClassVar[str] = "querykey.csv"

    source: str
    model_type: str
    rule: str
    width: int
    groups: int
    rotary: bool
    heads: tuple[QueryKey, ...]
    remarks: tuple[str, ...] = ()
    unit: str = "layer"

    def notes(self) -> list[str]:
        """What a reader has to know beside the numbers, in sentences."""
        notes = [
            *self.remarks,
            (
                "M = W_Q^T W_K is raw: without the scale 1/sqrt(d_head) of the scores and without"
                " normalisation"
            ),
            (
                f"a head's leading QK subspaces hold {SHARE:.0%} of ||M||^2; chance is their"
                " dimension over d"
            ),
        ]
        if self.rotary:
            notes.append(
                "rotary positions are not included: M is the circuit between tokens at the same"
                " place"
            )
        if any(each.bias for each in self.heads):
            notes.append(
                "biases of queries and keys are not included; the column bias has the size of what"
                " they add"
            )
        per_layer = len({each.head for each in self.heads})
        if self.groups < per_layer:
            notes.append(f"{per_layer} heads share the keys of {self.groups} groups")
        return notes

    def sentences(self) -> list[str]:
        """What the heads have in common, no more than the numbers say."""
        shares = np.array([each.symmetric for each in self.heads])
        said = [
            f"The symmetric share of M has the median {np.median(shares):.2f} over {len(shares)}"
            f" heads, between {shares.min():.2f} and {shares.max():.2f}; it is"
            f" {0.5 + 0.5 / self.width:.2f} for a random M."
        ]
        for name in OVERLAPS:
            act, side = name.split("_")
            ratios = np.array([each.overlaps[name] / each.chance for each in self.heads])
            top = self.heads[int(ratios.argmax())]
            said.append(
                f"What a head {act}s lies in the leading subspace of its {side} side"
                f" {np.median(ratios):.1f} times as much as a random direction (median); most in"
                f" {called(self.unit, top.layer)}, head {top.head}: {ratios.max():.1f} times, of at"
                f" most {1 / top.chance:.0f}."
            )
        return said

    def rows(self) -> list[tuple]:
        """One row for each head, in the order of `COLUMNS`."""
        return [
            (
                each.layer,
                each.head,
                float(each.singular[0]),
                float(each.singular[1]) if len(each.singular) > 1 else 0.0,
                float(np.linalg.norm(each.singular)),
                each.mode.eigenvalue.real,
                each.mode.eigenvalue.imag,
                each.mode.flag,
                each.mode.gap,
                each.symmetric,
                each.rank,
                each.chance,
                *(each.overlaps[name] for name in OVERLAPS),
                each.ov.eigenvalue.real,
                each.ov.eigenvalue.imag,
                each.ov.flag,
                each.bias,
            )
            for each in self.heads
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.source,
            "model_type": self.model_type,
            "rule": self.rule,
            "rotary": self.rotary,
            "groups": self.groups,
            "notes": self.notes(),
            "heads": [
                {
                    "layer": each.layer,
                    "head": each.head,
                    "singular": each.singular.tolist(),
                    "eigenvalue": pair(each.mode.eigenvalue),
                    "flag": each.mode.flag,
                    "gap": each.mode.gap,
                    "symmetric": each.symmetric,
                    "rank": each.rank,
                    "chance": each.chance,
                    "overlaps": each.overlaps,
                    "ov_eigenvalue": pair(each.ov.eigenvalue),
                    "ov_flag": each.ov.flag,
                    "bias": each.bias,
                }
                for each in self.heads
            ],
        }


def query_keys(
    model: Any,
    *,
    rule: str = "modulus",
    layers: str | Sequence[int] = "all",
    layout: Layout | None = None,
    progress: Progress = silent,
) -> QueryKeys:
    """QK beside OV for every head, from the weights alone, one layer at a time.

    Args:
        model: as for `Subject.of`.
        rule: which mode of F_h leads: "modulus", "consensus" or "layernorm".
        layers: as for `spectra`.
        layout: for an architecture that the lens does not know.
        progress: told how many layers are done.

    Raises:
        InputError: the model cannot be read, or a layer or rule does not exist.
    """
    subject = Subject.of(model, layout=layout)
    stack = subject.stack
    chosen = chosen_layers(layers, len(stack.blocks))
    if rule not in RULES:
        raise InputError(f"rule {rule!r} does not exist; choose {', '.join(RULES)}")
    found = []
    for done, index in enumerate(chosen):
        progress("heads", done, len(chosen))
        layer = subject.layer(index)
        (queries, query_bias), (keys, key_bias) = (
            stack.projection(index, "query"),
            stack.projection(index, "key"),
        )
        with threadpool_limits(1):
            for head in range(stack.heads):
                group, ov = layer.circuit.group(head), layer.mode(rule, head=head)
                added = keys[group].T @ query_bias[head], queries[head].T @ key_bias[group]
                bias = float(sum(np.linalg.norm(part) for part in added))
                found.append(
                    query_key(queries[head], keys[group], ov, layer=index, head=head, bias=bias)
                )
    progress("heads", len(chosen), len(chosen))
    return QueryKeys(
        source=stack.weights.source,
        model_type=stack.weights.model_type,
        rule=rule,
        width=stack.width,
        groups=stack.groups,
        rotary=stack.layout.rotary,
        heads=tuple(found),
        remarks=stack.notes,
        unit=stack.unit,
    )
