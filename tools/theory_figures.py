"""Draw the figures of docs/theory from the theory's own numbers: python tools/theory_figures.py
[NAME ...].

Each figure is docs/theory/NAME.png; Task 2 (d = 16, n = 32) unless a label says otherwise.
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eigenloop.numerics.power import contraction_factor, predicted_sines, sine_bounds
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.report.drawing import COLOURS, LIGHT
from eigenloop.theory import dynamics, filters, landscape, stability, step_sizes
from eigenloop.theory.population import EndToEnd, LayerwiseLinear, LayerwiseNorm

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "theory"
TASK2 = [float(m) for m in DEFAULT_MULTIPLICITIES]
BLUE, ORANGE, GREEN, PINK = COLOURS[:4]


def growth(axes: Axes, path: dynamics.Path, limit: dict[str, np.ndarray], exponent: str) -> None:
    """a_t and b_t against their asymptote."""
    later = path.steps >= 1
    axes.loglog(path.steps[later], path.a[later], color=BLUE, label="$a_t$")
    axes.loglog(path.steps[later], path.b[later], "--", color=ORANGE, label="$b_t$")
    axes.loglog(limit["steps"], limit["a"], ":", color="black", label=exponent)
    axes.set(
        xlabel="gradient descent step $t$",
        ylabel="active weights",
        title="Growth",
        ylim=(1e-2, None),
    )
    axes.legend()


def asymptote(setting: EndToEnd | LayerwiseNorm, path: dynamics.Path) -> dict[str, np.ndarray]:
    """The leading order at the path's later steps."""
    steps = path.steps[path.steps >= 10]
    found = [dynamics.asymptotic(setting, learning_rate=0.1, steps=float(step)) for step in steps]
    return {
        "steps": steps,
        **{name: np.array([row[name] for row in found]) for name in ("a", "loss")},
    }


def theorem_4_1(panels: list[Axes]) -> None:
    """Growth of the weights, and the loss above its limit."""
    setting = EndToEnd(TASK2, 10)
    path = dynamics.long_run(setting, learning_rate=0.1, steps=1e12)
    limit, bottom = asymptote(setting, path), float(setting.limit_loss().value)
    growth(panels[0], path, limit, r"$\sqrt{2}\,(\eta\Upsilon_1 t/d)^{1/4}$")
    later = path.steps >= 1
    gap = (
        np.array([float(setting.loss(float(gamma)).value) for gamma in path.gamma[later]]) - bottom
    )
    panels[1].loglog(path.steps[later], gap, color=BLUE, label=r"$f(\gamma_t) - f_\infty$")
    panels[1].loglog(
        limit["steps"],
        limit["loss"] - bottom,
        ":",
        color="black",
        label=r"$\frac{1}{2}(d\Upsilon_1/(\eta t))^{1/2}$",
    )
    panels[1].set(
        xlabel="gradient descent step $t$",
        ylabel="loss above its limit",
        title=f"Loss, limit {bottom:.4f}",
    )
    panels[1].legend()


def theorem_4_2(panels: list[Axes]) -> None:
    """gamma_t and the loss for both targets."""
    for target, colour, dash in (("normalized", BLUE, "-"), ("unnormalized", ORANGE, "--")):
        setting = LayerwiseLinear(TASK2, target)  # type: ignore[arg-type]
        optimum, mu2 = float(setting.optimum().value), float(setting.second_moment().value)
        path = dynamics.recursion(setting, learning_rate=0.1, steps=300)
        run = step_sizes.descend(2 * 0.1 * mu2 / 16, optimum, 300)
        panels[0].plot(
            path.steps,
            path.gamma / optimum,
            dash,
            color=colour,
            label=rf"{target}, $\gamma^* = {optimum:.4f}$",
        )
        panels[1].semilogy(
            mu2 * run.errors**2,
            dash,
            color=colour,
            label=rf"{target}, $f^* = {float(setting.floor().value):.4f}$",
        )
    panels[0].set(
        xlabel="gradient descent step $t$",
        ylabel=r"$\gamma_t/\gamma^*$",
        title="The fixed point",
        xlim=(0, 100),
    )
    panels[1].set(
        xlabel="gradient descent step $t$",
        ylabel=r"$f(\gamma_t) - f^*$",
        title="Linear rate",
        ylim=(1e-25, 10),
    )
    for axes in panels:
        axes.legend()


def theorem_4_3(panels: list[Axes]) -> None:
    """Growth of the weights, and the loss."""
    setting = LayerwiseNorm(TASK2)
    path = dynamics.long_run(setting, learning_rate=0.1, steps=1e12)
    limit = asymptote(setting, path)
    growth(panels[0], path, limit, r"$(12\,\eta\Upsilon_2 t/d)^{1/6}$")
    later = path.steps >= 1
    losses = [float(setting.loss(float(gamma)).value) for gamma in path.gamma[later]]
    panels[1].loglog(path.steps[later], losses, color=BLUE, label=r"$f(\gamma_t)$")
    panels[1].loglog(
        limit["steps"],
        limit["loss"],
        ":",
        color="black",
        label=r"$\Upsilon_2\,(12\,\eta\Upsilon_2 t/d)^{-2/3}$",
    )
    panels[1].set(xlabel="gradient descent step $t$", ylabel="loss", title="Loss", ylim=(None, 3))
    panels[1].legend()


def theorem_4_6(panels: list[Axes]) -> None:
    """One query looped by three models, with its bounds; and the factor per loop against gamma."""
    values, loops = np.array(TASK2), 60
    q = np.random.default_rng(4).standard_normal(16)
    q /= np.linalg.norm(q)
    best = float(LayerwiseLinear(TASK2, "unnormalized").optimum().value)
    ks = np.arange(loops + 1)
    rows = (
        (None, BLUE, "-", r"LN, $\gamma \to \infty$: the power method"),
        (4.0, GREEN, "-.", r"LN, $\gamma = 4$"),
        (best, ORANGE, "--", rf"no LN, unnormalized, $\gamma^* = {best:.3f}$"),
    )
    for gamma, colour, dash, label in rows:
        panels[0].semilogy(
            ks,
            predicted_sines(values, q, loops=loops, gamma=gamma),
            dash,
            color=colour,
            label=label,
        )
        low, high = sine_bounds(values, q, loops=loops, gamma=gamma)
        panels[0].fill_between(ks, low, np.minimum(high, 1), color=colour, alpha=0.12, linewidth=0)
    panels[0].set(
        xlabel="loops $k$",
        ylabel=r"$\sin\phi_k$",
        title="One query; shaded: between the two bounds",
        ylim=(1e-10, 3),
    )
    panels[0].legend()
    gammas = np.logspace(-2, 3, 200)
    panels[1].semilogx(
        gammas,
        [contraction_factor(values, gamma=float(gamma)) for gamma in gammas],
        color=BLUE,
        label="factor per loop",
    )
    panels[1].axhline(
        contraction_factor(values), color="black", linestyle=":", label=r"$\lambda_{m+1}/\lambda_1$"
    )
    for target, marker, colour in (("normalized", "o", PINK), ("unnormalized", "s", ORANGE)):
        gamma = float(LayerwiseLinear(TASK2, target).optimum().value)  # type: ignore[arg-type]
        panels[1].plot(
            gamma,
            contraction_factor(values, gamma=gamma),
            marker,
            color=colour,
            label=f"no LN, {target}, at its fixed point",
            linestyle="none",
        )
    panels[1].set(
        xlabel=r"$\gamma$",
        ylabel="contraction factor",
        title=r"$(1+\gamma\lambda_{m+1})/(1+\gamma\lambda_1)$",
    )
    panels[1].legend()


def theorem_4_7(panels: list[Axes]) -> None:
    """The looped model of Theorem 4.1 at test time, after more and more training; out of
    distribution.
    """
    setting = EndToEnd(TASK2, 10)
    path = dynamics.long_run(setting, learning_rate=0.1, steps=1e6)
    rng = np.random.default_rng(5)
    x = rng.standard_normal((16, 40)) * np.exp(rng.random((16, 1)))
    shifted = np.linalg.svd(x / np.linalg.norm(x, axis=0), compute_uv=False) ** 2
    q = rng.standard_normal(16)
    q /= np.linalg.norm(q)
    layers = np.arange(41)
    spectra = ((np.array(TASK2), "In distribution"), (shifted, "Another spectrum (n = 40)"))
    for axes, (values, title) in zip(panels, spectra, strict=True):
        for step, colour, dash in ((100, PINK, ":"), (1e4, GREEN, "-."), (1e6, ORANGE, "--")):
            gamma = float(path.gamma[np.searchsorted(path.steps, step)])
            axes.semilogy(
                layers,
                predicted_sines(values, q, loops=40, gamma=gamma),
                dash,
                color=colour,
                label=rf"$t = 10^{round(np.log10(step))}$, $\gamma_t = {gamma:.2f}$",
            )
        axes.semilogy(
            layers, predicted_sines(values, q, loops=40), color=BLUE, label="power method"
        )
        axes.set(xlabel="layers $L$", ylabel=r"$\sin\phi_L$", title=title)
        axes.legend()


def lemmas(panels: list[Axes]) -> None:
    """Step sizes without LN; the constant of Lemma F.4."""
    largest_steps(panels[0])
    inverse_squares(panels[1])


def largest_steps(panel: Axes) -> None:
    """Step sizes without LN (Thm B.3)."""
    grid = np.logspace(-2, 0.3, 200)
    stable = 1 / grid
    panel.loglog(
        grid, [step_sizes.divergence_kappa(g) for g in grid], color=ORANGE, label="above: diverges"
    )
    panel.loglog(
        grid[stable < 4],
        stable[stable < 4],
        "-.",
        color=PINK,
        label=r"above ($1/\gamma^*$): no limit",
    )
    over = []
    for g in grid:
        kappa = 0.5
        for _ in range(60):
            kappa = step_sizes.overshoot_kappa(g, step_sizes.descend(kappa, g, 200).c)
        over.append(kappa)
    panel.loglog(grid, over, "--", color=BLUE, label=r"above ($1/s^*$): passes $\gamma^*$")
    panel.loglog(
        grid,
        [step_sizes.safe_kappa(g) for g in grid],
        ":",
        color="black",
        label=r"proof of Thm B.3: $1/(4 s_{\max})$",
    )
    for target, marker in (("normalized", "o"), ("unnormalized", "s")):
        g = float(LayerwiseLinear(TASK2, target).optimum().value)  # type: ignore[arg-type]
        panel.plot(
            g,
            step_sizes.divergence_kappa(g),
            marker,
            color="black",
            label=f"Task 2, {target}",
            linestyle="none",
        )
    panel.set(
        xlabel=r"$\gamma^*$",
        ylabel=r"$\kappa = 2\eta\mu_2/d$",
        title="Step sizes without LN (Thm B.3)",
        ylim=(4e-3, None),
    )
    panel.legend(fontsize=7.5)


def inverse_squares(panel: Axes) -> None:
    """The constant of Lemma F.4."""
    from eigenloop.theory.claims.lemmas.auxiliary import inverse_square, inverse_square_constant

    ratios = np.logspace(-4, 0, 60)
    for dim, colour, dash in ((2, GREEN, ":"), (3, BLUE, "-"), (8, ORANGE, "--"), (32, PINK, "-.")):
        rows = np.concatenate(
            [np.ones((60, 1)), np.repeat(ratios[:, None], dim - 1, axis=1)], axis=1
        )
        share = inverse_square(rows).value * ratios / inverse_square_constant(dim)
        panel.semilogx(
            ratios,
            share,
            dash,
            color=colour,
            label=f"$d = {dim}$, $C_d = {inverse_square_constant(dim):.3f}$",
        )
    panel.set(
        xlabel=r"$\lambda_d/\lambda_1$, the others equal to $\lambda_d$",
        ylim=(0, 1.05),
        ylabel=r"$\lambda_1\lambda_d\,E\|Sq\|^{-2}/C_d$",
        title="Lemma F.4 with our constant",
    )
    panel.legend()


def beyond(panels: list[Axes]) -> None:
    """The lowest Hessian eigenvalue off the scalar manifold along training, and the full
    landscape without LN.
    """
    for index, loops in enumerate((1, 3, 10)):
        setting = EndToEnd(TASK2, loops)
        path = dynamics.long_run(setting, learning_rate=0.1, steps=1e8)
        chosen = [i for i, step in enumerate(path.steps) if step >= 20 and i % 4 == 0]
        lowest = []
        for i in chosen:
            modes = stability.hessian(setting, a=float(path.a[i]), b=float(path.b[i]))
            value = min(
                modes[name].eigenvalues[0] for name in ("antisymmetric", "symmetric traceless")
            )
            lowest.append(float(value * (1 + path.gamma[i])))
        panels[0].semilogx(
            path.steps[chosen],
            lowest,
            ("-", "--", "-.")[index],
            color=COLOURS[index],
            label=f"$L = {loops}$",
        )
    panels[0].axhline(0, color="black", linewidth=0.8)
    panels[0].set(
        xlabel="gradient descent step $t$",
        ylabel=r"$(1 + \gamma_t)\times$ lowest eigenvalue",
        title="Stable above 0: ten loops, not one",
    )
    panels[0].legend()
    setting = LayerwiseLinear(TASK2, "normalized")
    field, floor = landscape.Landscape.of(setting), float(setting.floor().value)
    ranks, losses = range(17), []
    for rank in ranks:
        losses.append(landscape.split_minimum(field, rank).loss)
    panels[1].plot(ranks, losses, "o-", color=BLUE, label="best A, B that split $R^{16}$ in two")
    panels[1].axhline(
        floor, color=ORANGE, linestyle="--", label=f"$f^* = {floor:.4f}$, best multiples of $I$"
    )
    panels[1].set(
        xlabel="dimension of the first part",
        ylabel="population loss",
        title="No LN, normalised target",
    )
    panels[1].legend(loc="upper center", bbox_to_anchor=(0.5, 0.93))


def past_the_wall(panels: list[Axes]) -> None:
    """The loss over the root of the filter, and what filters cost on other spectra."""
    left, right = panels
    roots = np.concatenate([np.linspace(-1.5, 4.98, 400)])
    for loops, colour in zip((2, 4, 10, 20), COLOURS, strict=False):
        setting = EndToEnd(TASK2, loops)
        loss = np.exp(filters.log_loss_over_root(setting, roots).value)
        left.semilogy(roots, loss, color=colour, label=f"L = {loops}")
        best = filters.best_root(setting)
        left.plot(best.rho, best.loss, "o", color=colour, markersize=5)
    left.axvline(0, color="black", linewidth=0.8, linestyle=":")
    left.text(-0.08, 2e-5, r"$\gamma = \pm\infty$", rotation=90, ha="right", va="bottom")
    left.set(
        xlabel=r"root of the filter $\rho = -1/\gamma$",
        ylabel="loss $f$",
        title="The loss falls past the power method",
        ylim=(1e-5, 1.5),
    )
    left.legend()
    price(right)


PRICED = {
    "power method": "power method",
    "shift n/(2d) = 1": "shift 1",
    "tuned shift (Task 2)": "shift tuned on Task 2",
    "untied optimum (sphere n=32)": "layers tuned on the sphere",
    "Lanczos": "Lanczos",
}
SPECTRA = {
    "Task 2": "Task 2",
    "sphere n=16": "16",
    "sphere n=24": "24",
    "sphere n=32": "32",
    "sphere n=64": "64",
}
"""Those of docs/theory/price.csv that are drawn, and how they are called."""


def price(axes: Axes) -> None:
    """The loss after ten loops, by spectrum; the table is that of tools/filter_price.py."""
    with (FOLDER / "price.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["layers"] == "10"]
    for k, (name, label) in enumerate(PRICED.items()):
        of = {row["spectrum"]: float(row["loss"]) for row in rows if row["filter"] == name}
        loss = np.array([of[spectrum] for spectrum in SPECTRA])
        place = np.arange(len(SPECTRA)) + 0.12 * (k - 2)
        axes.semilogy(place, loss, "osD^v"[k], color=COLOURS[k], label=label)
    axes.annotate("Lanczos: 0", (0.02, 1e-5), ha="center", va="bottom", fontsize="small")
    axes.axvline(0.5, ymax=0.72, color="black", linewidth=0.8, linestyle=":")
    axes.set(
        xlabel="spectrum: Task 2, and the sphere with $n$ =",
        ylabel="loss after ten loops",
        title="What it costs elsewhere",
        xlim=(-0.5, len(SPECTRA) - 0.5),
        ylim=(6e-6, 3e2),
    )
    axes.set_yticks([10.0**k for k in range(-5, 1)])
    axes.minorticks_off()
    axes.set_xticks(range(len(SPECTRA)), list(SPECTRA.values()))
    axes.legend(loc="upper right", ncols=2, fontsize="small")


FIGURES: dict[str, Callable[[list[Axes]], None]] = {
    "thm4.1": theorem_4_1,
    "thm4.2": theorem_4_2,
    "thm4.3": theorem_4_3,
    "thm4.6": theorem_4_6,
    "thm4.7": theorem_4_7,
    "lemmas": lemmas,
    "beyond": beyond,
    "past_the_wall": past_the_wall,
}


def main(names: list[str]) -> None:
    """Draw the named figures, all by default."""
    for name in names or list(FIGURES):
        # Matplotlib lists its keys as literals
        with mpl.rc_context(LIGHT):  # type: ignore[arg-type]
            figure = Figure(figsize=(8.4, 3.3), layout="constrained")
            left, right = figure.subplots(1, 2)
            FIGURES[name]([left, right])
            figure.savefig(FOLDER / f"{name}.png", dpi=130)


if __name__ == "__main__":
    main(sys.argv[1:])
