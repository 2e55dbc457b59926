"""Appendix C: one layer with LN, layerwise (Lemmas C.1 to C.6)."""

import numpy as np

from eigenloop.claims import Effort, Finding, every, within
from eigenloop.numerics.power import normalize
from eigenloop.numerics.rotations import cube_rotations, sphere_nodes
from eigenloop.theory import dynamics
from eigenloop.theory.claims.lemmas import oracle
from eigenloop.theory.claims.lemmas.book import ledger
from eigenloop.theory.claims.lemmas.looped import ROUNDING, draw_samples
from eigenloop.theory.population import LayerwiseNorm


def one_layer(v: np.ndarray, w: np.ndarray, samples: oracle.Sampled) -> np.ndarray:
    """The last column before N, (b, 2d), with p = S W_12 q and s = q . W_22 q.

    h_1 = V_11 p + s V_12 q,  h_2 = q + V_21 p + s V_22 q,  y = h_2 / (||h_1||^2 + ||h_2||^2)^{1/2}.
    """
    dim = samples.query.shape[1]
    q, gram = samples.query, samples.columns @ samples.columns.mT
    p = np.einsum("bij,bj->bi", gram, q @ w[:dim, dim:].T)
    s = np.einsum("bi,ij,bj->b", q, w[dim:, dim:], q)[:, None]
    upper = p @ v[:dim, :dim].T + s * (q @ v[:dim, dim:].T)
    lower = q + p @ v[dim:, :dim].T + s * (q @ v[dim:, dim:].T)
    return np.concatenate([upper, lower], axis=1)


def equivariant_maps(gram: np.ndarray, query: np.ndarray) -> dict[str, np.ndarray]:
    """Matrix functions with G(RX, Rq) = R G(X, q) R^T, (N, d, d) each."""
    image = (
        np.einsum("ij,nj->ni", gram, query)
        if gram.ndim == 2
        else np.einsum("nij,nj->ni", gram, query)
    )
    target = normalize(image)
    output = normalize(query + 0.7 * image)
    outer = {
        "q q^T": (query, query),
        "y (Sq)^T": (output, image),
        "(y - v) q^T": (output - target, query),
        "q v^T": (query, target),
    }
    found = {name: x[:, :, None] * y[:, None, :] for name, (x, y) in outer.items()}
    return {**found, "S (y - v) q^T": gram @ found["(y - v) q^T"]}


@ledger.claim(
    "lemC.1",
    "For any V, W one layer with LN returns h_2/(||h_1||^2 + ||h_2||^2)^{1/2}; W_11, W_21 never"
    " enter.",
    place="Lemma C.1",
    provenance="reconstructed",
)
def one_layer_output(effort: Effort) -> Finding:
    """The full model with eight random blocks."""
    rng, dim = effort.generator(), 4
    samples = draw_samples(rng, dim=dim, samples=6, count=effort.pick(100, 2000))
    worst = 0.0
    for _ in range(effort.pick(3, 20)):
        v, w = rng.standard_normal((2, 2 * dim, 2 * dim))
        column = one_layer(v, w, samples)
        found = oracle.outputs(v, w, samples, loops=1, norm=True)
        worst = max(worst, float(abs(found - normalize(column)[:, dim:]).max()))
    return within(
        measured=worst,
        expected=0.0,
        tolerance=ROUNDING,
        relative=False,
        justification="the same arithmetic in another order",
    )


@ledger.claim(
    "lemC.2",
    "If G(RX, Rq) = R G(X, q) R^T for every rotation R, then E[G] is a multiple of I.",
    place="Lemma C.2",
    provenance="stated",
    quote=(
        '"If [..] exhibits rotational equivariance [..] then its expectation is a scalar multiple'
        ' of the identity matrix" (Lemma C.2)'
    ),
)
def equivariant_means(effort: Effort) -> Finding:
    """Five such G, d = 3, by quadrature on the sphere and over the rotations of a cube."""
    gram = np.diag([3.0, 2.0, 1.0])
    query, weight = sphere_nodes(effort.pick(32, 64), effort.pick(64, 128))
    worst, turned, numbers = 0.0, 0.0, {}
    means = {name: np.zeros((3, 3)) for name in equivariant_maps(gram, query[:1])}
    turns = cube_rotations()
    for turn in turns:
        for name, values in equivariant_maps(turn @ gram @ turn.T, query).items():
            means[name] += np.einsum("n,nij->ij", weight, values) / len(turns)
    fixed = equivariant_maps(gram, query)
    for name, mean in means.items():
        direct = np.einsum("n,nii->", weight, fixed[name]) / 3
        worst = max(worst, float(abs(mean - direct * np.eye(3)).max()))
        numbers[f"E[{name}] / I"] = float(direct)
        turned = max(turned, oracle.off_scalar(np.einsum("n,nij->ij", weight, fixed[name])))
    numbers["largest share off multiples of I with X held fixed"] = turned
    return within(
        measured=worst,
        expected=0.0,
        tolerance=1e-11,
        relative=False,
        numbers=numbers,
        justification=(
            "quadrature on the sphere converges geometrically, (1/3)^nodes here; its mean over"
            " rotations is finite"
        ),
    )


@ledger.claim(
    "lemC.3",
    "Gradient descent on one layer with LN keeps V_21 = aI, W_12 = bI and zeros elsewhere.",
    place="Lemma C.3",
    provenance="stated",
    quote=(
        '"All other blocks are zero matrices", "This confirms that the block structure is preserved'
        ' at step [..], completing the inductive proof" (Lemma C.3)'
    ),
)
def structure(effort: Effort) -> Finding:
    """Descent of the full model on the exact population of d = 2, against the scalar recursion."""
    steps, rate = effort.pick(50, 600), 0.5
    full = oracle.descend(
        oracle.circle((2, 1)), loss="normalized", norm=True, learning_rate=rate, steps=steps
    )
    path = dynamics.recursion(LayerwiseNorm([2.0, 1.0]), learning_rate=rate, steps=steps)
    at = path.steps.astype(int)
    apart = float(max(abs(full.a[at] - path.a).max(), abs(full.b[at] - path.b).max()))
    return within(
        measured=max(apart, full.off_structure),
        expected=0.0,
        tolerance=1e-9,
        relative=False,
        justification=(
            "quadratures exact to rounding, f' interpolated to 1e-13; the recursion does not"
            " amplify errors"
        ),
        numbers={
            "largest entry off the structure": full.off_structure,
            "largest difference from the recursion": apart,
            "steps": steps,
        },
    )


@ledger.claim(
    "lemC.4.sign",
    "The common factor of both updates is never positive, for any X and q: each sample's loss falls"
    " with gamma.",
    place="Appendix C.2.1, step 2",
    provenance="stated",
    quote=(
        '"Prove that this common factor is non-positive", "Because this expression is non-positive'
        ' for any [..] and [..], its expectation must also be non-positive" (Appendix C.2.1,'
        " step 2)"
    ),
)
def slope_is_negative(effort: Effort) -> Finding:
    """Autodiff of single samples in the full model."""
    samples = draw_samples(effort.generator(), dim=4, samples=6, count=effort.pick(200, 4000))
    gammas = np.concatenate([[0.0], np.logspace(-2, 2, 9)])
    slopes = oracle.gamma_slopes(samples, gammas, loss="normalized")
    return every(
        int((slopes < 0).sum()),
        slopes.size,
        justification="a strict inequality has no tolerance",
        numbers={"largest slope": float(slopes.max())},
    )
