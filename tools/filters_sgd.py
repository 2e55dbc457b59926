"""Which filter does SGD find? Matrices A_l, B_l and noise, from both sides of gamma = 0.

    python tools/filters_sgd.py                  train what docs/theory/filters_sgd.csv lacks
    python tools/filters_sgd.py --only NAME,...  these settings
    python tools/filters_sgd.py --list           their names
    python tools/filters_sgd.py --table          the table of docs/theory/past_the_wall_sgd.md

Task 2 (d = 16, n = 32), end to end with LN, batch 128, float32. Every step draws fresh queries q
and takes X from a pool of 16,384 rotations, so that no pair (X, q) is seen twice; the loss is that
of 4,096 other X. Ten seeds are trained side by side. A setting is written when all of its seeds are
done, so an interrupted table goes on where it was. Measured once; no test or claim runs it.

One row is one seed at the end: loss on held-out X and on the pool, gamma and c (means over layers),
roots -c_l/gamma_l, and how far A_l and B_l are from multiples of I: the norms of their
antisymmetric and of their symmetric traceless part, and of what differs between layers, relative to
their own.
"""

import argparse
import csv
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.objectives import EndToEnd
from eigenloop.lab.problems import Batch, haar_rotations, uniform_queries
from eigenloop.numerics.spectrum import DEFAULT_MULTIPLICITIES
from eigenloop.theory.filters import best_root
from eigenloop.theory.population import EndToEnd as Population

CSV = Path(__file__).resolve().parents[1] / "docs" / "theory" / "filters_sgd.csv"
SEEDS, BATCH, DIM = 10, 128, 16
POOL, HELD_OUT = 16_384, 4_096
LAST_RATE = 0.0005
"""Where the falling rate ends; it begins at 0.1 and falls by the same factor in every step."""
KINDS = ("tied", "learned c", "untied")
STRETCH = 500
"""Steps of a compiled stretch."""

Kind = Literal["tied", "learned c", "untied"]
Schedule = Literal["0.1", "0.01", "0.0005", "falling", "adam"]


@dataclass(frozen=True)
class Setting:
    """A training of ten seeds."""

    kind: Kind
    loops: int
    b0: float
    schedule: Schedule
    steps: int = 20_000

    @property
    def name(self) -> str:
        """Unique."""
        words = (self.kind.replace(" ", "-"), f"L{self.loops}", f"b{self.b0:g}", self.schedule)
        return "_".join((*words, f"t{self.steps}"))

    def model(self) -> TwoBlock:
        """The start: A = I, B = b_0 I in every layer, c = 1."""
        return TwoBlock.initial(
            dim=DIM,
            norm=True,
            b0=self.b0,
            learn_residual=self.kind == "learned c",
            layers=self.loops if self.kind == "untied" else None,
        )

    def optimizer(self) -> optax.GradientTransformation:
        """Plain SGD, or Adam at 0.003 falling to a tenth."""
        if self.schedule == "adam":
            return optax.adam(lambda step: 0.003 * 0.1 ** (step / self.steps))
        if self.schedule == "falling":
            return optax.sgd(lambda step: 0.1 * (LAST_RATE / 0.1) ** (step / self.steps))
        return optax.sgd(float(self.schedule))


def grid() -> list[Setting]:
    """Every setting, the most telling first."""
    depths, starts = (10, 3, 1, 5, 2), (0.0, -0.5, -1.0)
    tied = [Setting("tied", loops, b0, "falling") for loops in depths for b0 in starts]
    adam = [Setting("untied", loops, 0.0, "adam", 6_000) for loops in (4, 2)]
    untied = [Setting("untied", loops, b0, "falling") for loops in (4, 10, 2) for b0 in starts]
    learned = [Setting("learned c", loops, 0.0, "falling") for loops in (2, 10, 3)]
    small = [Setting("tied", 10, b0, "0.0005") for b0 in (-0.5, -0.35)]
    rates: tuple[Schedule, ...] = ("0.1", "0.01")
    other = [
        Setting("tied", loops, b0, rate) for loops in (10, 3, 1) for rate in rates for b0 in starts
    ]
    return tied + adam + small + untied + learned + other


@cache
def pools() -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """(S, u_1) to train on and to measure on, from keys of their own."""
    values = jnp.asarray(DEFAULT_MULTIPLICITIES, jnp.float32)

    def one(seed: int, size: int) -> tuple[jax.Array, jax.Array]:
        turn = haar_rotations(jax.random.key(seed), size, DIM)
        return (turn * values) @ turn.mT, turn[:, :, :1]

    return one(1, POOL), one(2, HELD_OUT)


def batch_of(gram: jax.Array, principal: jax.Array, query: jax.Array) -> Batch:
    """Examples for the objective; the reduced model does not read X."""
    return Batch(gram[:, :, :0], query, gram, principal)


@partial(jax.jit, static_argnames=("setting", "count"))
def advance(models: Any, states: Any, pool: Any, first: jax.Array, *, setting: Setting, count: int):
    """`count` steps of every seed."""
    objective, optimizer = EndToEnd(setting.loops), setting.optimizer()

    def one(seed: jax.Array, model: Any, state: Any, step: jax.Array):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), seed), step)
        keys = jax.random.split(key)
        rows = jax.random.randint(keys[0], (BATCH,), 0, POOL)
        query = uniform_queries(keys[1], BATCH, DIM)
        batch = batch_of(pool[0][rows], pool[1][rows], query)
        gradient = jax.grad(lambda m: jnp.mean(objective(m, batch)))(model)
        updates, state = optimizer.update(gradient, state, model)
        return optax.apply_updates(model, updates), state

    def body(i: jax.Array, carry: Any) -> Any:
        models, states = carry
        steps = jnp.broadcast_to(first + i, SEEDS)
        return jax.vmap(one)(jnp.arange(SEEDS), models, states, steps)

    return jax.lax.fori_loop(0, count, body, (models, states))


@partial(jax.jit, static_argnames="loops")
def losses(models: Any, pool: Any, key: jax.Array, *, loops: int) -> jax.Array:
    """Mean loss of every seed on the first `HELD_OUT` X of a pool, all with the same queries."""
    batch = batch_of(pool[0][:HELD_OUT], pool[1][:HELD_OUT], uniform_queries(key, HELD_OUT, DIM))
    return jax.lax.map(lambda model: jnp.mean(EndToEnd(loops)(model, batch)), models)


def parts(matrices: np.ndarray) -> dict[str, float]:
    """Norms of the parts off the multiples of I, and off the mean over layers, relative; (L, d, d).

    Example:
        >>> {k: round(v, 9) for k, v in parts(np.array([[[1.0, 2.0], [-2.0, 1.0]]])).items()}
        {'antisymmetric': 0.894427191, 'traceless': 0.0, 'split': 0.0}
    """
    whole = np.linalg.norm(matrices)
    turned = matrices.transpose(0, 2, 1)
    scalar = (
        np.trace(matrices, axis1=1, axis2=2)[:, None, None]
        / len(matrices[0])
        * np.eye(len(matrices[0]))
    )
    return {
        "antisymmetric": float(np.linalg.norm(matrices - turned) / 2 / whole),
        "traceless": float(np.linalg.norm((matrices + turned) / 2 - scalar) / whole),
        "split": float(np.linalg.norm(matrices - matrices.mean(0)) / whole),
    }


def row_of(model: Any, seed: int) -> dict[str, str]:
    """What a seed's matrices are."""
    a, b = (np.asarray(each[seed], np.float64).reshape(-1, DIM, DIM) for each in (model.a, model.b))
    c = np.ones(1) if model.c is None else np.asarray(model.c[seed], np.float64).reshape(-1)
    gamma = np.trace(a @ b, axis1=1, axis2=2) / DIM
    both = [parts(each) for each in (a, b)]
    return {
        "gamma": f"{gamma.mean():.5g}",
        "c": f"{c.mean():.5g}",
        "roots": " ".join(f"{root:.4g}" for root in np.sort(-c / gamma)),
    } | {name: f"{np.mean([each[name] for each in both]):.4g}" for name in both[0]}


def rows_of(setting: Setting, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Train the seeds side by side; one row for each."""
    train, held_out = pools()
    models = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (SEEDS, *leaf.shape)), setting.model()
    )
    states = jax.vmap(setting.optimizer().init)(models)
    began = time.monotonic()
    for first in range(0, setting.steps, STRETCH):
        count = min(STRETCH, setting.steps - first)
        models, states = advance(
            models, states, train, jnp.int32(first), setting=setting, count=count
        )
        if (first + count) % (10 * STRETCH) == 0 or first + count == setting.steps:
            found = np.asarray(losses(models, held_out, jax.random.key(4), loops=setting.loops))
            tell(
                f"{setting.name}: step {first + count:,}, loss {found.mean():.5f} +- "
                f"{found.std(ddof=1) / np.sqrt(SEEDS):.5f}, {time.monotonic() - began:.0f} s"
            )
    ends = [
        losses(models, pool, jax.random.key(5), loops=setting.loops) for pool in (held_out, train)
    ]
    base = {"setting": setting.name, "kind": setting.kind, "loops": setting.loops, "b0": setting.b0}
    base |= {"rate": setting.schedule, "steps": setting.steps}
    return [
        base
        | {"seed": seed, "loss": f"{ends[0][seed]:.5g}", "pool_loss": f"{ends[1][seed]:.5g}"}
        | row_of(models, seed)
        for seed in range(SEEDS)
    ]


def references() -> list[dict[str, Any]]:
    """The power method and the best shift, on the very X and q that seeds are measured on."""
    found = []
    for loops in (1, 2, 3, 4, 5, 10):
        rho = best_root(Population(DEFAULT_MULTIPLICITIES, loops)).rho
        for kind, b in (("power method", 1e4), ("best shift", -1 / rho)):
            model = jax.tree.map(
                lambda leaf: leaf[None], TwoBlock.initial(dim=DIM, norm=True, b0=b)
            )
            ends = [
                float(losses(model, pool, jax.random.key(5), loops=loops)[0]) for pool in pools()
            ]
            found.append(
                {"setting": f"{kind.replace(' ', '-')}_L{loops}", "kind": kind, "loops": loops}
                | {"b0": f"{b:.5g}", "rate": "", "steps": 0, "seed": ""}
                | {"loss": f"{ends[1]:.5g}", "pool_loss": f"{ends[0]:.5g}"}
                | row_of(model, 0)
            )
    return found


def finished(path: Path) -> set[str]:
    """Settings that the CSV holds."""
    if not path.exists():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {row["setting"] for row in csv.DictReader(file)}


def table(path: Path) -> str:
    """Markdown: a line for each setting, means over seeds and their standard errors."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    scalar = {(row["kind"], row["loops"]): float(row["loss"]) for row in rows if not row["seed"]}
    settings: dict[str, list[dict[str, str]]] = {}
    for row in (row for row in rows if row["seed"]):
        settings.setdefault(row["setting"], []).append(row)
    order = sorted(
        settings.values(),
        key=lambda seeds: (
            KINDS.index(seeds[0]["kind"]),
            seeds[0]["rate"] == "adam",
            int(seeds[0]["loops"]),
            -float(seeds[0]["b0"]),
        ),
    )
    lines = [
        "| layers | L | b_0 | rate | power method | best shift | SGD | roots | off I |",
        "| --- " * 9 + "|",
    ]
    for seeds in order:
        first, losses = seeds[0], np.array([float(seed["loss"]) for seed in seeds])
        roots = np.array([[float(root) for root in seed["roots"].split()] for seed in seeds])
        off = [
            np.mean([float(seed[name]) for seed in seeds])
            for name in ("antisymmetric", "traceless")
        ]
        error = losses.std(ddof=1) / np.sqrt(len(losses))
        cells = [first["kind"], first["loops"], first["b0"], first["rate"]]
        cells += [f"{scalar[kind, first['loops']]:.4f}" for kind in ("power method", "best shift")]
        cells += [f"{losses.mean():.4f} +- {error:.4f}"]
        cells += [", ".join(f"{root:.2f}" for root in roots.mean(0))]
        cells += [" / ".join(f"{each:.2f}" for each in off)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a finished setting's rows in one go."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do what it asks."""
    parser = argparse.ArgumentParser(description="SGD on matrices beside the population's filters.")
    parser.add_argument("--only", default="", help="names of settings, separated by commas")
    parser.add_argument("--list", action="store_true", help="only print the names")
    parser.add_argument("--table", action="store_true", help="only print the page's table")
    parser.add_argument("--csv", type=Path, default=CSV, help="where the rows are kept")
    options = parser.parse_args(arguments)
    only = set(filter(None, options.only.split(",")))
    chosen = [setting for setting in grid() if not only or setting.name in only]
    if options.list:
        print("\n".join(setting.name for setting in chosen))
        return 0
    if options.table:
        print(table(options.csv))
        return 0
    if "power-method_L1" not in finished(options.csv):
        append(options.csv, references())
    for number, setting in enumerate(chosen, start=1):
        if setting.name not in finished(options.csv):
            tell = partial(print, f"[{number}/{len(chosen)}]", flush=True)
            append(options.csv, rows_of(setting, tell))
            jax.clear_caches()
    return 0


if __name__ == "__main__":
    sys.exit(main())
