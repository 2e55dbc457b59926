"""Tokens that pass through attention layers with known weights (NumPy, float64), for the cases that
have a theory.

Tokens are the rows x_i of X (n x d); F_h acts on columns, as everywhere. One attention sublayer is

    o_i(X) = sum_h sum_j A^h_ij F_h x_j + b
    post:  x_i <- N(x_i + o_i(X))          pre:  x_i <- x_i + o_i(N(X))

with A^h uniform, or softmax over j of x_i^T S_h x_j, over all tokens or (causal) over j <= i. A
feed-forward sublayer may follow in the same manner. A `Run` keeps every state and measures what the
theory is about: how near to consensus the tokens are, how near their mean is to the leading mode,
and the rate of either. Source: arXiv 2605.25619 for the analogy with the power method; the rates
are worked out here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from eigenloop.lens.model.layouts import Placement
from eigenloop.lens.weights.circuits import Norm
from eigenloop.lens.weights.modes import Mode, principal
from eigenloop.lens.weights.operators import Growth, Operator
from eigenloop.numerics.power import normalize, sin_angle
from eigenloop.numerics.statistics import Rate, fit_rate
from eigenloop.system.errors import InputError


@dataclass(frozen=True)
class Unit:
    """N(x) = x / ||x||, token by token.

    Example:
        >>> Unit()(np.array([[3.0, 4.0]]))
        array([[0.6, 0.8]])
    """

    placement: Placement = "post"

    def __call__(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Each row divided by its length."""
        return normalize(x)


@dataclass(frozen=True, eq=False, kw_only=True)
class FeedForward:
    """o = D gelu(U x + a) + b, token by token, gelu in its tanh form.

    Args:
        up: U, (m, d).
        down: D, (d, m).
        up_bias: a, (m,).
        down_bias: b, (d,).
        norm: beside this sublayer.
    """

    up: Float[np.ndarray, "m d"]
    down: Float[np.ndarray, "d m"]
    up_bias: Float[np.ndarray, " m"]
    down_bias: Float[np.ndarray, " d"]
    norm: Norm | Unit | None = None

    def __call__(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """What the sublayer adds."""
        z = x @ self.up.T + self.up_bias
        return (
            0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) @ self.down.T
            + self.down_bias
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """One layer with known weights.

    Args:
        heads: F_h, (H, d, d).
        scores: S_h = W_Q^T W_K / sqrt(d_head), (H, d, d); None for uniform attention.
        causal: token i sees j <= i only.
        bias: b, (d,), None for 0.
        norm: beside the attention sublayer; its placement says where.
        residual: whether x is added.
        feedforward: the sublayer after it.

    Example:
        >>> layer = Layer(heads=np.diag([1.0, 0.0])[None])
        >>> layer(np.array([[1.0, 1.0], [3.0, 0.0]]))
        array([[3., 1.],
               [5., 0.]])
    """

    heads: Float[np.ndarray, "H d d"]
    scores: Float[np.ndarray, "H d d"] | None = None
    causal: bool = False
    bias: Float[np.ndarray, " d"] | None = None
    norm: Norm | Unit | None = None
    residual: bool = True
    feedforward: FeedForward | None = None

    @property
    def matrix(self) -> Float[np.ndarray, "d d"]:
        """F = sum_h F_h."""
        return self.heads.sum(0)

    def patterns(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "H n n"]:
        """A^h for the tokens that the sublayer reads; rows sum to 1."""
        count = len(x)
        logits = (
            np.zeros((len(self.heads), count, count))
            if self.scores is None
            else x @ self.scores @ x.T
        )
        if self.causal:
            logits = np.where(np.tri(count, dtype=bool), logits, -np.inf)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True)

    def attend(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """What the attention adds: o_i of every token."""
        out = (self.patterns(x) @ x @ self.heads.transpose(0, 2, 1)).sum(0)
        return out if self.bias is None else out + self.bias

    def __call__(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """The tokens after the layer."""
        x = self._around(self.attend, self.norm, x)
        return (
            x
            if self.feedforward is None
            else self._around(self.feedforward, self.feedforward.norm, x)
        )

    def _around(
        self, add: Callable[[np.ndarray], np.ndarray], norm: Norm | Unit | None, x: np.ndarray
    ) -> np.ndarray:
        kept = x if self.residual else 0.0
        if norm is None:
            return kept + add(x)
        return kept + add(norm(x)) if norm.placement == "pre" else norm(kept + add(x))

    def mean_map(self) -> Float[np.ndarray, "d d"] | None:
        """M: the mean token's direction goes by N(M xbar) in consensus; I + F, diag(gain) P (I + F)
        with post-LN.

        Returns:
            M, or None where no matrix does it: with pre-LN, biases or a feed-forward sublayer.
        """
        norm = self.norm
        affine = self.bias is not None or (isinstance(norm, Norm) and bool(norm.bias.any()))
        if self.feedforward is not None or affine or (norm is not None and norm.placement == "pre"):
            return None
        matrix = self.matrix + self.residual * np.eye(len(self.matrix))
        return norm.after(matrix, center=norm.kind == "layer") if isinstance(norm, Norm) else matrix

    def leader(self) -> Mode:
        """The leading mode of `mean_map`: its eigenvalue is mu_1 (1 + lambda_1), its gap |mu_2 /
        mu_1|.

        Raises:
            InputError: no matrix gives the mean token's direction.
        """
        matrix = self.mean_map()
        if matrix is None:
            raise InputError(
                "a layer with pre-LN, biases or a feed-forward sublayer has no leading eigenvector;"
                " compare its tokens with its fixed point on one token"
            )
        return principal(
            Operator(left=matrix, right=np.eye(len(matrix)), formula="mean map"), Growth()
        )

    def consensus_factor(self, *, tokens: int) -> float:
        """Factor by which deviations between tokens shrink in a loop, relative to the tokens, close
        to consensus.

        radius(T (I + a F)) / |mu_1|, the largest over a = 0 (full attention) or a = 1/2, ..., 1/n
        (causal): what is left of the eigenvalues of A in consensus but the first. T is what the
        normalisation does to a small deviation, diag(gain) (P - z z^T) with z the unit vector along
        v_1 / gain: the component along the leader is lost.
        """
        leader, identity = self.leader(), np.eye(len(self.matrix))
        shrink = identity
        if self.norm is not None:
            gain = self.norm.gain if isinstance(self.norm, Norm) else np.ones(len(identity))
            z = normalize(leader.right / gain)
            kept = identity if leader.flag == "complex" else identity - np.outer(z, z)
            centred = isinstance(self.norm, Norm) and self.norm.kind == "layer"
            shrink = gain[:, None] * (kept - kept.mean(0) if centred else kept)
        shares = [1 / j for j in range(2, tokens + 1)] if self.causal else [0.0]
        radii = [
            abs(np.linalg.eigvals(shrink @ (self.residual * identity + a * self.matrix))).max()
            for a in shares
        ]
        return float(max(radii, default=0.0) / leader.growth)


@dataclass(frozen=True, eq=False)
class Run:
    """Tokens at every loop, and what they did.

    Args:
        states: X_0, ..., X_K, (K + 1, n, d).
        layers: the layer before each state but the first.
    """

    states: Float[np.ndarray, "k n d"]
    layers: Sequence[Layer]

    @property
    def means(self) -> Float[np.ndarray, "k d"]:
        """The mean token at every loop."""
        return self.states.mean(1)

    @cached_property
    def spread(self) -> Float[np.ndarray, " k"]:
        """sqrt(mean ||x_i - xbar||^2 / mean ||x_i||^2): 0 in consensus, 1 where the mean
        vanishes.
        """
        deviations = self.states - self.means[:, None]
        return np.linalg.norm(deviations, axis=(1, 2)) / np.linalg.norm(self.states, axis=(1, 2))

    def sines_to(self, basis: Float[np.ndarray, "d m"]) -> Float[np.ndarray, " k"]:
        """Sine of the mean token's angle to a subspace with an orthonormal basis."""
        return sin_angle(self.means, basis)

    @cached_property
    def sines(self) -> Float[np.ndarray, " k"]:
        """Sine of the mean token's angle to the leading mode (a line, or a pair's plane) of the
        layer it came from.
        """
        layers = [self.layers[0], *self.layers]
        result = np.empty(len(layers))
        for layer in {id(layer): layer for layer in layers}.values():
            mine = np.array([other is layer for other in layers])
            result[mine] = sin_angle(self.means[mine], layer.leader().plane())
        return result

    @property
    def alignment(self) -> Rate:
        """Fitted factor per loop of the sine to the leading mode; |mu_2 / mu_1| for shared
        weights.
        """
        return fit_rate(self.sines)

    @property
    def consensus(self) -> Rate:
        """Fitted factor per loop of the spread."""
        return fit_rate(self.spread)


def simulate(
    layers: Layer | Sequence[Layer], start: Float[np.ndarray, "n d"], *, loops: int | None = None
) -> Run:
    """Pass tokens through a layer again and again, or through several, one after another.

    Args:
        layers: a layer with shared weights, looped; or the layers of one pass.
        start: X_0.
        loops: how often a shared layer is applied; None for several layers, which are applied once
            each.

    Raises:
        InputError: loops missing for a shared layer, given for several, or below 1; no layers at
            all.

    Example:
        >>> run = simulate(Layer(heads=np.diag([1.0, 0.0])[None], norm=Unit()), np.eye(2), loops=60)
        >>> bool(run.sines[-1] < 1e-12), round(run.alignment.value, 6)
        (True, 0.5)
    """
    if isinstance(layers, Layer):
        if loops is None or loops < 1:
            raise InputError(f"loops is {loops}; a layer with shared weights needs at least 1")
        layers = [layers] * loops
    elif loops is not None or not layers:
        raise InputError(
            f"{len(layers)} layers and loops = {loops}: give layers for one pass, or one layer and"
            " loops"
        )
    states = [start]
    for layer in layers:
        states.append(layer(states[-1]))
    return Run(np.stack(states), layers)
