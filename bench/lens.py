"""Seconds for the spectra of a checkpoint: alone, beside dense matrices, and beside TransformerLens
(`make bench`).

python bench/lens.py [--quick] [--json]; docs/benchmark.md says what is measured and how.
"""

import argparse
import json
import os
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

from eigenloop.lens import Growth, Operator, Spectrum, circuits, operator

WIDTHS = {384: 12, 768: 12, 1024: 16}
"""d: heads. MiniLM, GPT-2 small, GPT-2 medium."""
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
BASELINE = Path(__file__).with_name("baseline_transformer_lens.py")


def write_gpt2(
    directory: Path,
    *,
    layers: int = 12,
    width: int = 768,
    heads: int = 12,
    vocabulary: int = 50_257,
) -> Path:
    """A checkpoint with all tensors of GPT-2 small; random where the lens reads, zero elsewhere."""
    rng = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return 0.02 * rng.standard_normal(shape, np.float32)

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    tensors = {"wte.weight": random(vocabulary, width), "wpe.weight": zeros(1024, width)}
    for layer in range(layers):
        tensors |= {
            f"h.{layer}.{name}": array
            for name, array in {
                "attn.c_attn.weight": random(width, 3 * width),
                "attn.c_attn.bias": random(3 * width),
                "attn.c_proj.weight": random(width, width),
                "attn.c_proj.bias": random(width),
                "ln_1.weight": 1 + random(width),
                "ln_1.bias": random(width),
                "ln_2.weight": zeros(width),
                "ln_2.bias": zeros(width),
                "mlp.c_fc.weight": zeros(width, 4 * width),
                "mlp.c_fc.bias": zeros(4 * width),
                "mlp.c_proj.weight": zeros(4 * width, width),
                "mlp.c_proj.bias": zeros(width),
            }.items()
        }
    save_file(tensors, directory / "model.safetensors")
    config = {
        "model_type": "gpt2",
        "n_layer": layers,
        "n_head": heads,
        "n_embd": width,
        "layer_norm_epsilon": 1e-5,
    }
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def command_seconds(directory: Path, rounds: int) -> list[float]:
    """Wall seconds of the whole command, from the start of the interpreter."""
    command = [
        sys.executable,
        "-c",
        "from eigenloop.cli import main; main()",
        "lens",
        directory,
        "--weights-only",
    ]
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - began)
        assert len(json.loads(done.stdout)["layers"]) == 12
    return seconds


def heads_against_dense(width: int, heads: int, rounds: int) -> dict[str, Any]:
    """Seconds for a head: eigenvalues, leading vectors and certificate through the product,
    beside dense eig(F_h).
    """
    rng = np.random.default_rng(0)
    left, right = (0.02 * rng.standard_normal((heads, width, width // heads)) for _ in range(2))
    ours, dense, worst = [], [], 0.0
    with threadpool_limits(1):
        for i in range(rounds):
            began = time.perf_counter()
            modes = [
                Spectrum(Operator(left=u, right=v.T)).principal(Growth())
                for u, v in zip(left, right, strict=True)
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
        "width": width,
        "heads": heads,
        "product": summary(ours),
        "dense": summary(dense),
        "ratio": summary(ratios),
        "largest_relative_difference": worst,
    }


# --- beside TransformerLens


class UnavailableError(Exception):
    """TransformerLens cannot be had here; the message says why."""


def transformer_lens_python(folder: Path) -> tuple[Path, str]:
    """A throw-away environment with TransformerLens in it: its interpreter, and the version."""
    python = folder / "environment" / "bin" / "python"
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]
    pinned = [line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch==")]
    steps = [
        [sys.executable, "-m", "venv", python.parents[1]],
        [*install, *pinned, "transformer-lens>=4"],
    ]
    for step in steps:
        try:
            subprocess.run(step, capture_output=True, text=True, check=True, timeout=1800)
        except subprocess.CalledProcessError as error:
            raise UnavailableError(
                f"not installed: {(error.stderr.strip().splitlines() or ['?'])[-1]}"
            ) from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnavailableError(f"not installed: {error}") from None
    code = "from importlib.metadata import version; print(version('transformer-lens'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return python, found.stdout.strip()


def answer(process: subprocess.Popen[str], errors: Any) -> dict[str, Any]:
    """The next line of the other process; what it wrote last to `errors` where there is none."""
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        errors.seek(0)
        raise UnavailableError(f"stopped: {(errors.read().strip().splitlines() or ['?'])[-1]}")
    return json.loads(line)


def beside_transformer_lens(python: Path, directory: Path, rounds: int) -> dict[str, Any]:
    """Eigenvalues of every F_h of a checkpoint held in memory, by both, one after the other in
    each round.
    """
    layers = [circuits(directory, layer) for layer in range(12)]
    operators = [
        operator(circuit, head=head) for circuit in layers for head in range(circuit.heads)
    ]
    command = [python, BASELINE, directory]
    theirs: list[float] = []
    ours: list[float] = []
    modes: list[float] = []
    worst = 0.0
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        ) as process,
        threadpool_limits(1),
    ):
        assert process.stdin is not None
        assert process.stdout is not None

        told = start = answer(process, errors)
        for _ in range(rounds + 1):
            process.stdin.write("again\n")
            process.stdin.flush()
            told = answer(process, errors)
            began = time.perf_counter()
            values = [Spectrum(each).eigenvalues for each in operators]
            middle = time.perf_counter()
            for each in operators:
                Spectrum(each).principal(Growth())
            ended = time.perf_counter()
            theirs.append(told["seconds"])
            ours.append(middle - began)
            modes.append(ended - middle)
            largest = np.ravel(told["largest"])
            worst = max(
                worst, *(abs(abs(v[0]) / t - 1) for v, t in zip(values, largest, strict=True))
            )
        process.stdin.close()
    theirs, ours, modes = theirs[1:], ours[1:], modes[1:]  # the first of each warms up
    return {
        "heads": len(operators),
        "theirs": summary(theirs),
        "ours": summary(ours),
        "modes": summary(modes),
        "ratio": summary([b / a for a, b in zip(ours, theirs, strict=True)]),
        "ratio_modes": summary([b / a for a, b in zip(modes, theirs, strict=True)]),
        "largest_relative_difference": worst,
        "their_dtype": told["dtype"],
        "their_import_seconds": start["import_seconds"],
        "their_load_seconds": start["load_seconds"],
    }


def compared(directory: Path, folder: Path, rounds: int, quick: bool) -> dict[str, Any]:
    """The comparison, or why there is none."""
    if quick:
        return {"skipped": "left out by --quick (its environment takes minutes to install)"}
    try:
        python, version = transformer_lens_python(folder)
        return {"version": version, **beside_transformer_lens(python, directory, rounds)}
    except UnavailableError as error:
        return {"skipped": str(error)}


def show_comparison(console: Console, found: dict[str, Any]) -> None:
    if "skipped" in found:
        console.print(
            f"beside TransformerLens: skipped, {found['skipped']}", soft_wrap=True, highlight=False
        )
        return
    table = Table(title=f"{found['heads']} heads of GPT-2 small in memory, one thread")
    for heading in ("", "ms", "min - max", "TransformerLens / this", "min - max"):
        table.add_column(heading, justify="right" if heading else "left")
    names = {
        "theirs": f"TransformerLens {found['version']}, eigenvalues, {found['their_dtype']}",
        "ours": "eigenloop, eigenvalues, complex128",
        "modes": "eigenloop, with leading vectors and residuals",
    }
    for key, name in names.items():
        ratio = {"ours": found["ratio"], "modes": found["ratio_modes"]}.get(key)
        cells = (
            ("1", "")
            if ratio is None
            else (f"{ratio['median']:.2f}", f"{ratio['min']:.2f} - {ratio['max']:.2f}")
        )
        row = found[key]
        spread = f"{1e3 * row['min']:.0f} - {1e3 * row['max']:.0f}"
        table.add_row(name, f"{1e3 * row['median']:.0f}", spread, *cells)
    console.print(table)
    console.print(
        "largest relative difference of the leading moduli:"
        f" {found['largest_relative_difference']:.0e}; TransformerLens imports in"
        f" {found['their_import_seconds']:.1f} s and loads in {found['their_load_seconds']:.1f} s",
        soft_wrap=True,
        highlight=False,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round of each, without d = 1024")
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object on standard output and nothing else there",
    )
    options = parser.parse_args()
    rounds, console = 1 if options.quick else 5, Console(stderr=options.json, width=100)
    report: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_gpt2(Path(folder))
        report["checkpoint"] = summary(command_seconds(checkpoint, min(rounds, 3)))
        report["transformer_lens"] = compared(checkpoint, Path(folder), rounds, options.quick)
    report["heads"] = [
        heads_against_dense(d, h, rounds)
        for d, h in WIDTHS.items()
        if d < 1024 or not options.quick
    ]
    seconds = report["checkpoint"]
    console.print(
        "eigenloop lens GPT-2-small --weights-only (12 layers, 12 heads, d = 768, all rules):"
        f" {seconds['median']:.1f} s ({seconds['min']:.1f} - {seconds['max']:.1f}), start-up"
        " included"
    )
    table = Table(title="One head, one thread")
    for heading in (
        "d",
        "d_head",
        "product, ms",
        "dense eig, ms",
        "dense / product",
        "min - max",
        "difference",
    ):
        table.add_column(heading, justify="right")
    for row in report["heads"]:
        ratio = row["ratio"]
        table.add_row(
            str(row["width"]),
            str(row["width"] // row["heads"]),
            f"{1e3 * row['product']['median']:.2f}",
            f"{1e3 * row['dense']['median']:.0f}",
            f"{ratio['median']:.0f}",
            f"{ratio['min']:.0f} - {ratio['max']:.0f}",
            f"{row['largest_relative_difference']:.0e}",
        )
    console.print(table)
    show_comparison(console, report["transformer_lens"])
    if options.json:
        print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
