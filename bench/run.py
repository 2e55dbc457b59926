"""Milliseconds per training step: plain PyTorch, the full model in JAX, and the default engine
(`make bench`).

python bench/run.py [--quick] [--json]; docs/benchmark.md says what is measured and how.
"""

import argparse
import importlib
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

import baseline_jax
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from eigenloop.lab.blocks import TwoBlock
from eigenloop.lab.config import TrainConfig
from eigenloop.lab.objectives import EndToEnd
from eigenloop.lab.problems import Sphere, draw
from eigenloop.lab.training import Trainer


def optional(name: str) -> Any:
    """A module, None where it or what it imports is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


# without PyTorch the agreement of the other two can still be tested
torch, baseline_torch = optional("torch"), optional("baseline_torch")

GPU_TRAIN_SIZE = 1_280
"""Ten batches: 4,096 seeds with 10,000 examples of 256 floats each would need 42 GB for S alone."""

SCALING = {
    "dim": (8, 16, 32, 64),
    "samples": (32, 64, 128),
    "loops": (1, 3, 10, 30),
    "batch": (32, 128, 512),
}
QUICK_SCALING = {"dim": (8, 32), "loops": (1, 30)}
SEEDS, QUICK_SEEDS, GPU_SEEDS = (1, 2, 4, 8), (1, 4), (1, 4, 16, 64, 256, 1024, 4096)


class OneThread:
    """The PyTorch baseline on one thread: where other processes hold cores, its threads mostly
    wait for each other.
    """

    def __init__(self, training: Any) -> None:
        self.training = training

    def run(self, steps: int) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            self.training.run(steps)
        finally:
            torch.set_num_threads(threads)


class DefaultEngine:
    """What `training.train` runs between two metrics: `Trainer.advance`, many steps in a call,
    shuffling included.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.trainer = Trainer(config)
        self.state, self.step = self.trainer.initial(), 0

    def run(self, steps: int) -> None:
        self.state = self.trainer.advance(*self.state, self.step, self.step + steps)
        self.step += steps


def paper_config(**changes: Any) -> TrainConfig:
    """Figure 1's setting: d = 16, n = 32, L = 10, batch 128, end to end with LN, SGD; the test
    set is not timed.
    """
    return TrainConfig.create(**{"test_size": 1, **changes})


# --- equal work


def losses_and_gradients(
    seed: int = 0, *, dim: int = 16, samples: int = 32, loops: int = 10, batch: int = 128
) -> dict:
    """(loss, dA, dB) of each contender on one batch at random A and B, in float64; torch only
    where installed.
    """
    with jax.enable_x64(True):
        data = draw(Sphere(dim=dim, samples=samples), jax.random.key(seed), batch)
        noise = 0.1 * np.random.default_rng(seed).normal(size=(2, dim, dim))
        reduced = TwoBlock(
            a=jnp.asarray(np.eye(dim) + noise[0]), b=jnp.asarray(np.eye(dim) + noise[1]), norm=True
        )
        full = reduced.lift()
        model = {"V": full.v, "W": full.w}
        examples = (data.columns, data.query, data.principal)

        def default_loss(blocks: TwoBlock) -> jax.Array:
            return jnp.mean(EndToEnd(loops)(blocks, data))

        loss, gradient = jax.value_and_grad(default_loss)(reduced)
        results = {"default": (float(loss), np.asarray(gradient.a), np.asarray(gradient.b))}
        loss, gradient = jax.value_and_grad(baseline_jax.end_to_end_loss)(model, *examples, loops)
        results["jax"] = (
            float(loss),
            np.asarray(gradient["V"])[dim:, :dim],
            np.asarray(gradient["W"])[:dim, dim:],
        )
    if baseline_torch is not None and torch is not None:
        net = baseline_torch.LoopedTransformer(dim, torch.float64)
        with torch.no_grad():
            net.V.copy_(torch.tensor(np.asarray(full.v)))
            net.W.copy_(torch.tensor(np.asarray(full.w)))
        loss = baseline_torch.end_to_end_loss(
            net, *(torch.tensor(np.asarray(x)) for x in examples), loops
        )
        loss.backward()
        results["torch"] = (
            loss.item(),
            net.V.grad.numpy()[dim:, :dim],
            net.W.grad.numpy()[:dim, dim:],
        )
    return results


def largest_difference(results: dict) -> float:
    """Largest relative difference of loss, dA or dB from the default engine's."""
    reference = results["default"]
    return max(
        float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))
        for name in results
        for ours, theirs in zip(results[name], reference, strict=True)
    )


# --- timing


def milliseconds(run: Callable[[int], None], steps: int) -> float:
    began = time.perf_counter()
    run(steps)
    return 1e3 * (time.perf_counter() - began) / steps


def round_length(run: Callable[[int], None], seconds: float, unit: int) -> int:
    """Steps that take about `seconds`, a multiple of `unit`; compiles and warms up on the way."""
    run(unit)
    run(unit)
    return unit * max(1, round(1e3 * seconds / milliseconds(run, unit) / unit))


def summary(values: Iterable[float]) -> dict[str, float]:
    array = np.array(list(values))
    return {"median": float(np.median(array)), "min": float(array.min()), "max": float(array.max())}


def compare(config: TrainConfig, rounds: int, seconds: float, on_gpu: bool) -> dict:
    """Rounds of torch, jax, default in turn; medians, and ratios within each round."""
    data = draw(config.distribution(), jax.random.key(config.seed), config.train_size)
    examples = (data.columns, data.query, data.principal)
    settings = (config.loops, config.batch, config.learning_rate)
    contenders: dict[str, Any] = {}
    if not on_gpu or torch.cuda.is_available():
        tensors = (torch.tensor(np.asarray(x)) for x in examples)
        contenders["torch"] = baseline_torch.Training(
            *tensors, *settings, device="cuda" if on_gpu else "cpu"
        )
        if not on_gpu:
            contenders["torch_one_thread"] = OneThread(contenders["torch"])
    contenders["jax"] = baseline_jax.Training(*examples, *settings)
    contenders["default"] = DefaultEngine(config)
    units = {"default": config.steps_per_epoch}
    lengths = {
        name: round_length(c.run, seconds, units.get(name, 1)) for name, c in contenders.items()
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            times[name].append(milliseconds(contender.run, lengths[name]))
    default = np.array(times["default"])
    return {
        "rounds": rounds,
        "steps_per_round": lengths,
        "ms": {name: summary(values) for name, values in times.items()},
        "ratio_to_default": {
            name: summary(np.array(times[name]) / default) for name in times if name != "default"
        },
    }


def engine_ms(config: TrainConfig, repeats: int, seconds: float) -> dict[str, float]:
    engine = DefaultEngine(config)
    steps = round_length(engine.run, seconds, config.steps_per_epoch)
    return summary(milliseconds(engine.run, steps) for _ in range(repeats))


def scaling(
    grid: dict[str, tuple], repeats: int, seconds: float, base: dict[str, Any]
) -> list[dict]:
    """The default engine's step, one size changed at a time."""
    rows = []
    for name, values in grid.items():
        for value in values:
            sizes = {"samples": max(32, 2 * value)} if name == "dim" else {}
            config = paper_config(**{**base, **sizes, name: value})
            ms = engine_ms(config, repeats, seconds)
            rows.append(
                {
                    "changed": name,
                    "value": value,
                    "ms": ms,
                    "ms_per_seed": ms["median"] / config.seeds,
                }
            )
    return rows


# --- report


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            model = next(
                line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
            )
    except (OSError, StopIteration):
        pass
    packages = {name: version(name) for name in ("eigenloop", "jax", "jaxlib", "torch", "numpy")}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    threads = torch.get_num_threads()
    return {
        "cpu": model,
        "cores": cores,
        "load": load,
        "torch_threads": threads,
        "python": platform.python_version(),
        **packages,
    }


def peak_rss_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (20 if sys.platform == "darwin" else 10)


def show(console: Console, device: str, result: dict) -> None:
    labels = {
        "torch": "PyTorch, full matrices, autograd",
        "torch_one_thread": "the same on one thread",
        "jax": "JAX, full matrices, jit",
        "default": "default engine",
    }
    table = Table(title=f"One training step on {device}: {result['note']}")
    for heading in ("", "ms per step", "min - max", "x default", "min - max"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, ms in result["compare"]["ms"].items():
        ratio = result["compare"]["ratio_to_default"].get(name)
        cells = (
            ("1", "")
            if ratio is None
            else (f"{ratio['median']:.0f}", f"{ratio['min']:.0f} - {ratio['max']:.0f}")
        )
        table.add_row(
            labels[name], f"{ms['median']:.4g}", f"{ms['min']:.4g} - {ms['max']:.4g}", *cells
        )
    console.print(table)
    table = Table(title=f"The default engine's step on {device}, one size changed at a time")
    for heading in ("", "ms per step", "min - max", "ms per step and seed"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    names = {"dim": "d", "samples": "n", "loops": "L", "batch": "batch", "seeds": "seeds"}
    for i, row in enumerate(result["scaling"]):
        ms, following = row["ms"], result["scaling"][i + 1 : i + 2]
        table.add_row(
            f"{names[row['changed']]} = {row['value']}",
            f"{ms['median']:.4g}",
            f"{ms['min']:.4g} - {ms['max']:.4g}",
            f"{row['ms_per_seed']:.4g}",
            end_section=bool(following) and following[0]["changed"] != row["changed"],
        )
    console.print(table)


def on_device(device: Any, *, gpu: bool, quick: bool) -> dict[str, Any]:
    rounds, seconds, repeats, short = (7, 0.12, 3, 0.1) if quick else (11, 0.4, 5, 0.25)
    base = {"train_size": GPU_TRAIN_SIZE} if gpu else {}
    grid: dict[str, Any] = {**(QUICK_SCALING if quick else SCALING)}
    grid["seeds"] = QUICK_SEEDS if quick else GPU_SEEDS if gpu else SEEDS
    with jax.default_device(device):
        config = paper_config(**base)
        return {
            "device": device.device_kind,
            "note": f"d = 16, n = 32, L = 10, batch 128, {config.train_size:,} examples",
            "compare": compare(config, rounds, seconds, gpu),
            "scaling": scaling(grid, repeats, short, base),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewer sizes and shorter rounds: under 40 s"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object on standard output and nothing else there",
    )
    options = parser.parse_args()
    if torch is None:
        print(
            "the benchmark compares with PyTorch, which is missing: pip install -e '.[bench]'",
            file=sys.stderr,
        )
        return 2
    began, console = time.monotonic(), Console(stderr=options.json, width=100)
    difference = largest_difference(losses_and_gradients())
    if not difference < 1e-9:
        print(
            f"losses or gradients differ by {difference:.1e} of their size: not the same work",
            file=sys.stderr,
        )
        return 1
    report: dict[str, Any] = {
        "machine": machine(),
        "largest_relative_difference": difference,
        "devices": {},
    }
    console.print(
        ", ".join(f"{key} {value}" for key, value in report["machine"].items() if value is not None)
    )
    console.print(
        f"equal work: losses and gradients of all three agree to {difference:.1e} (float64)"
    )
    devices = {"CPU": jax.devices("cpu")[0]}
    try:
        devices["GPU"] = jax.devices("gpu")[0]
    except RuntimeError:
        console.print("no GPU that JAX can use: the GPU table is left out")
    for name, device in devices.items():
        result = on_device(device, gpu=name == "GPU", quick=options.quick)
        report["devices"][name] = result
        show(console, name, result)
    report |= {"peak_rss_mib": peak_rss_mib(), "seconds": time.monotonic() - began}
    console.print(f"peak memory {report['peak_rss_mib']:.0f} MiB, {report['seconds']:.0f} s")
    if options.json:
        print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
