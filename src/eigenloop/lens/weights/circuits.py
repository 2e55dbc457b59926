"""What one attention sublayer does to the residual stream: F = W_O W_V, by head and in sum (NumPy).

Column vectors. With x_j the sublayer's input, A^h the attention pattern of head h and g(h) the
group of its values,

    F_h = W_O^h W_V^g(h),    F = sum_h F_h,    b_eff = b_O + sum_h W_O^h b_V^g(h)
    o_i = sum_h sum_j A^h_ij (F_h x_j + W_O^h b_V^g(h)) + b_O
        = sum_h sum_j A^h_ij F_h x_j + b_eff                      where the rows of A^h sum to 1

Weights are raw unless folding is asked for, and what was folded stands in the result. Source: arXiv
2605.25619 for F; the bias and the operators with normalisation are worked out here.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from eigenloop.lens.model.layouts import Layout, NormKind, Placement
from eigenloop.lens.model.stack import locate
from eigenloop.lens.weights.operators import product
from eigenloop.system.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Norm:
    """The normalisation beside an attention sublayer: LN(x) = gain * P x / sigma + bias, or RMSNorm
    without P.

    P = I - 11^T/d; sigma is the standard deviation of x over its d entries, for RMSNorm their root
    mean square.

    Args:
        gain: (d,), float64.
        bias: (d,), float64; zero for RMSNorm.
        eps: added to sigma^2.
        kind: "layer" or "rms".
        placement: "pre" x + o(LN(x)), or "post" LN(x + o(x)).
    """

    gain: Float[np.ndarray, " d"]
    bias: Float[np.ndarray, " d"]
    eps: float
    kind: NormKind
    placement: Placement

    def sigma(self, x: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n"]:
        """The scale of each token: sqrt(var + eps), or sqrt(mean square + eps) for RMSNorm.

        Example:
            >>> norm = Norm(
            ...     gain=np.ones(2), bias=np.zeros(2), eps=0.0, kind="layer", placement="pre"
            ... )
            >>> norm.sigma(np.array([[1.0, 3.0]]))
            array([1.])
        """
        centred = x - x.mean(-1, keepdims=True) if self.kind == "layer" else x
        return np.sqrt(np.mean(centred * centred, axis=-1) + self.eps)

    def __call__(self, x: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n d"]:
        """LN(x), token by token."""
        centred = x - x.mean(-1, keepdims=True) if self.kind == "layer" else x
        return centred / self.sigma(x)[..., None] * self.gain + self.bias

    def after(self, matrix: np.ndarray, *, gain: bool = True, center: bool = True) -> np.ndarray:
        """diag(gain) P M in float64, for M of shape (..., d, k); P is left out with center=False
        (RMSNorm has none).
        """
        result = matrix.astype(np.float64)
        if center:
            result -= result.mean(-2, keepdims=True)
        if gain:
            result *= self.gain[:, None]
        return result

    def before(self, matrix: np.ndarray, *, gain: bool = True, center: bool = True) -> np.ndarray:
        """M diag(gain) P in float64, for M of shape (..., k, d)."""
        result = matrix.astype(np.float64)
        if gain:
            result *= self.gain
        if center:
            result -= result.mean(-1, keepdims=True)
        return result


@dataclass(frozen=True, eq=False, kw_only=True)
class Circuit:
    """The value and output weights of one layer, by head, and the normalisation beside them.

    Args:
        layer: index of the block.
        output: W_O^h, (heads, d, head_dim).
        value: W_V^g, (groups, head_dim, d); heads h share values in consecutive groups of
            heads/groups.
        value_bias: b_V^g, (groups, head_dim).
        output_bias: b_O, (d,).
        norm: the normalisation beside the sublayer.
        gain: diag(gain) is folded in. The arrays here stay raw; what is computed from them is
            folded.
        center: P is folded in.
    """

    layer: int
    output: Float[np.ndarray, "heads d head_dim"]
    value: Float[np.ndarray, "groups head_dim d"]
    value_bias: Float[np.ndarray, "groups head_dim"]
    output_bias: Float[np.ndarray, " d"]
    norm: Norm
    gain: bool = False
    center: bool = False

    @property
    def operator(self) -> str:
        """What `matrix()` is: "F" for raw weights, else the formula with what was folded in."""
        names = ["diag(gain)"] * self.gain + ["P"] * self.center
        return " ".join(["F", *names] if self.norm.placement == "pre" else [*names, "F"])

    @property
    def heads(self) -> int:
        """H, the number of attention heads."""
        return self.output.shape[0]

    @property
    def width(self) -> int:
        """d, the dimension of the stream."""
        return self.output.shape[1]

    def group(self, head: int) -> int:
        """g(h), the values that a head reads.

        Raises:
            InputError: there is no such head.
        """
        if not 0 <= head < self.heads:
            raise InputError(
                f"head {head} does not exist: layer {self.layer} has heads 0 to {self.heads - 1}"
            )
        return head * self.value.shape[0] // self.heads

    def factors(
        self, head: int
    ) -> tuple[Float[np.ndarray, "d head_dim"], Float[np.ndarray, "head_dim d"]]:
        """(W_O^h, W_V^g(h)) in float64, with F_h = W_O^h W_V^g(h); folded, where the circuit is."""
        value = self.value[self.group(head)].astype(np.float64)
        output = self.output[head].astype(np.float64)
        if self.norm.placement == "pre":
            return output, self.norm.before(value, gain=self.gain, center=self.center)
        return self.norm.after(output, gain=self.gain, center=self.center), value

    def summed_factors(self) -> tuple[Float[np.ndarray, "d r"], Float[np.ndarray, "r d"]]:
        """(U, V) with raw F = U V and r = groups * head_dim: the heads of a group add up before
        their common values.

        As stored, except that a sum over heads is float64; r < d with grouped queries. Nothing is
        folded in.
        """
        groups, head_dim, width = self.value.shape
        right = self.value.reshape(groups * head_dim, width)
        if groups == self.heads:
            return self.output.transpose(1, 0, 2).reshape(width, groups * head_dim), right
        left = np.empty((width, groups, head_dim))
        for g, heads in enumerate(np.split(self.output, groups)):
            np.sum(heads, axis=0, dtype=np.float64, out=left[:, g])
        return left.reshape(width, groups * head_dim), right

    def head(self, head: int) -> Float[np.ndarray, "d d"]:
        """F_h, float64."""
        left, right = self.factors(head)
        return left @ right

    def matrix(self) -> Float[np.ndarray, "d d"]:
        """F = sum_h F_h, float64; folded, where the circuit is.

        Example:
            >>> circuit = planted(np.diag([2.0, -1.0]))
            >>> circuit.matrix()
            array([[ 2.,  0.],
                   [ 0., -1.]])
        """
        raw, place = (
            product(*self.summed_factors()),
            self.norm.before if self.norm.placement == "pre" else self.norm.after,
        )
        return place(raw, gain=self.gain, center=self.center)

    def head_bias(self, head: int) -> Float[np.ndarray, " d"]:
        """W_O^h b_V^g(h), float64: what a head adds whatever it reads, per unit of its pattern's
        row sum.
        """
        bias = self.value_bias[self.group(head)].astype(np.float64)
        if self.gain and self.norm.placement == "pre":
            bias += self.value[self.group(head)].astype(np.float64) @ self.norm.bias
        return self.factors(head)[0] @ bias

    def own_bias(self) -> Float[np.ndarray, " d"]:
        """b_O, float64, with what is folded in after the attention."""
        bias = self.output_bias.astype(np.float64)
        if self.norm.placement == "pre":
            return bias
        return self.norm.after(bias[:, None], gain=self.gain, center=self.center)[:, 0]

    def effective_bias(self) -> Float[np.ndarray, " d"]:
        """b_eff = b_O + sum_h W_O^h b_V^g(h), float64."""
        return self.own_bias() + sum(self.head_bias(h) for h in range(self.heads))

    def attend(
        self, x: Float[np.ndarray, "*batch n d"], patterns: Float[np.ndarray, "*batch heads n n"]
    ) -> Float[np.ndarray, "*batch n d"]:
        """The sublayer's output o for given attention patterns, from F_h and the biases.

        o_i = sum_h sum_j A^h_ij (F_h x_j + W_O^h b_V^g(h)) + b_O. Rows of a pattern need not sum to
        1 exactly: the bias of the values is weighted by their actual sums.

        Args:
            x: inputs of the sublayer (after LN in a pre-LN model), in the dtype to compute in.
            patterns: A^h, rows attend to columns.

        Returns:
            o, of the dtype of x.
        """
        result = np.zeros_like(x) + self.own_bias().astype(x.dtype)
        for h in range(self.heads):
            pattern = patterns[..., h, :, :].astype(x.dtype)
            kernel, bias = self.head(h).astype(x.dtype), self.head_bias(h).astype(x.dtype)
            result += pattern @ (x @ kernel.T) + pattern.sum(-1, keepdims=True) * bias
        return result

    def folded(self, *, gain: bool = True, center: bool | None = None) -> "Circuit":
        """The same layer with its normalisation folded into the weights; sigma stays outside.

        pre:  F diag(gain) P acts on x / sigma, and b_V takes W_V bias;
        post: diag(gain) P F gives the part of LN(x + o) that the attention adds, times sigma.

        Args:
            gain: fold diag(gain).
            center: fold P = I - 11^T/d; by default as the model does (RMSNorm does not centre).

        Returns:
            A circuit whose `operator` says what was folded.

        Raises:
            InputError: something is folded in already.

        Example:
            >>> planted(np.eye(2)).folded(center=True).operator
            'F diag(gain) P'
        """
        if self.operator != "F":
            raise InputError(
                f"the weights are folded already ({self.operator}); fold the raw circuit"
            )
        return replace(
            self, gain=gain, center=self.norm.kind == "layer" if center is None else center
        )


def planted(matrix: Float[np.ndarray, "d d"], *, norm: Norm | None = None) -> Circuit:
    """A layer with one head and a prescribed F (W_O = F, W_V = I), for tests and experiments.

    Args:
        matrix: F.
        norm: the normalisation beside it; by default none of its effects (gain 1, bias 0, RMSNorm,
            pre).

    Example:
        >>> planted(np.eye(3)).width
        3
    """
    d = len(matrix)
    plain = Norm(gain=np.ones(d), bias=np.zeros(d), eps=0.0, kind="rms", placement="pre")
    return Circuit(
        layer=0,
        output=np.asarray(matrix, np.float64)[None],
        value=np.eye(d)[None],
        value_bias=np.zeros((1, d)),
        output_bias=np.zeros(d),
        norm=norm or plain,
    )


def circuits(model: Any, layer: int, *, layout: Layout | None = None) -> Circuit:
    """Read one layer's circuit; nothing else of the model is read.

    Args:
        model: a directory, a hub name, a loaded model of transformers, `Weights` or a `Stack`.
        layer: index of the block, from 0. Models that share weights have fewer blocks than layers.
        layout: for an architecture that the lens does not know.

    Returns:
        Raw weights in float32, or float64 where they are stored so.

    Raises:
        InputError: the layer does not exist, or the model cannot be read.
    """
    stack = locate(model, layout)
    if not 0 <= layer < len(stack.blocks):
        shared, count = (
            f", applied in {len(stack.schedule)} layers" if stack.shared else "",
            len(stack.blocks),
        )
        there = f"layers 0 to {count - 1}" if count > 1 else "one block, number 0"
        raise InputError(
            f"layer {layer} does not exist: {stack.weights.source} has {there}{shared}"
        )
    value, value_bias = stack.projection(layer, "value")
    output, output_bias = stack.output(layer)
    gain, bias = stack.norm(layer)
    config = stack.weights.config
    norm = Norm(
        gain=gain,
        bias=bias,
        eps=stack.layout.eps_in(config),
        kind=stack.layout.norm_kind,
        placement=stack.layout.placement_in(config),
    )
    return Circuit(
        layer=layer,
        output=output,
        value=value,
        value_bias=value_bias,
        output_bias=output_bias,
        norm=norm,
    )
