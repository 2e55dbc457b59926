"""Seconds for the spectra of a checkpoint, and of heads through the small product beside a dense one (`make bench`).

python bench/lens.py [--quick] [--json]; docs/benchmark.md says what is measured and how.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from run import machine, summary
from safetensors.numpy import save_file
from threadpoolctl import threadpool_limits

from eigenloop.lens import Growth, Operator, Spectrum

WIDTHS = {384: 12, 768: 12, 1024: 16}
"""d: heads. MiniLM, GPT-2 small, GPT-2 medium."""


def write_gpt2(
    directory: Path, *, layers: int = 12, width: int = 768, heads: int = 12, vocabulary: int = 50_257
) -> Path:
    """A checkpoint with all tensors of GPT-2 small; random where the lens reads, zero elsewhere."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return 0.02 * rng.standard_normal(shape, np.float32)

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    tensors = {"wte.weight": zeros(vocabulary, width), "wpe.weight": zeros(1024, width)}
    for layer in range(layers):
        tensors |= {
            f"h.{layer}.{name}": array
            for name, array in {
                "attn.c_attn.weight": random(width, 3 * width), "attn.c_attn.bias": random(3 * width),
                "attn.c_proj.weight": random(width, width), "attn.c_proj.bias": random(width),
                "ln_1.weight": 1 + random(width), "ln_1.bias": random(width),
                "ln_2.weight": zeros(width), "ln_2.bias": zeros(width),
                "mlp.c_fc.weight": zeros(width, 4 * width), "mlp.c_fc.bias": zeros(4 * width),
                "mlp.c_proj.weight": zeros(4 * width, width), "mlp.c_proj.bias": zeros(width),
            }.items()
        }  # fmt: skip
    save_file(tensors, directory / "model.safetensors")
    config = {"model_type": "gpt2", "n_layer": layers, "n_head": heads, "n_embd": width, "layer_norm_epsilon": 1e-5}
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def command_seconds(directory: Path, rounds: int) -> list[float]:
    """Wall seconds of the whole command, from the start of the interpreter."""
    command = [sys.executable, "-c", "from eigenloop.cli import main; main()", "lens", directory, "--weights-only"]
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - began)
        assert len(json.loads(done.stdout)["layers"]) == 12
    return seconds


def heads_against_dense(width: int, heads: int, rounds: int) -> dict[str, Any]:
    """Seconds for a head: eigenvalues, leading vectors and certificate through the product, beside dense eig(F_h)."""
    rng = np.random.default_rng(0)
    left, right = (0.02 * rng.standard_normal((heads, width, width // heads)) for _ in range(2))
    ours, dense, worst = [], [], 0.0
    with threadpool_limits(1):
        for i in range(rounds):
            began = time.perf_counter()
            modes = [
                Spectrum(Operator(left=u, right=v.T)).principal(Growth()) for u, v in zip(left, right, strict=True)
            ]
            ours.append((time.perf_counter() - began) / heads)
            head = i % heads
            matrix = left[head] @ right[head].T
            began = time.perf_counter()
            values, _ = np.linalg.eig(matrix)
            dense.append(time.perf_counter() - began)
            worst = max(worst, abs(np.abs(values).max() / modes[head].growth - 1))
    ratios = [b / a for a, b in zip(ours, dense, strict=True)]
    return {
        "width": width, "heads": heads, "product": summary(ours), "dense": summary(dense), "ratio": summary(ratios),
        "largest_relative_difference": worst,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of each, without d = 1024")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output and nothing else there")
    options = parser.parse_args()
    rounds, console = 1 if options.quick else 5, Console(stderr=options.json, width=100)
    report: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        report["checkpoint"] = summary(command_seconds(write_gpt2(Path(folder)), min(rounds, 3)))
    report["heads"] = [heads_against_dense(d, h, rounds) for d, h in WIDTHS.items() if d < 1024 or not options.quick]
    seconds = report["checkpoint"]
    console.print(
        "eigenloop lens GPT-2-small --weights-only (12 layers, 12 heads, d = 768, all rules): "
        f"{seconds['median']:.1f} s ({seconds['min']:.1f} - {seconds['max']:.1f}), start-up included"
    )
    table = Table(title="One head, one thread")
    for heading in ("d", "d_head", "product, ms", "dense eig, ms", "dense / product", "min - max", "difference"):
        table.add_column(heading, justify="right")
    for row in report["heads"]:
        ratio = row["ratio"]
        table.add_row(
            str(row["width"]), str(row["width"] // row["heads"]), f"{1e3 * row['product']['median']:.2f}",
            f"{1e3 * row['dense']['median']:.0f}", f"{ratio['median']:.0f}",
            f"{ratio['min']:.0f} - {ratio['max']:.0f}", f"{row['largest_relative_difference']:.0e}",
        )  # fmt: skip
    console.print(table)
    if options.json:
        print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
