"""Eigenvalues of all OV circuits of a checkpoint by TransformerLens; runs in an environment of its
own.

python baseline_transformer_lens.py CHECKPOINT: one JSON line when the model is loaded, then one for
each line of standard input, with the seconds that a fresh evaluation took and the largest modulus
of each head.
"""

import json
import sys
import time

BEGAN = time.perf_counter()

import torch  # noqa: E402
from transformer_lens import TransformerBridge  # noqa: E402 # pyright: ignore[reportMissingImports]


def main() -> None:
    torch.set_num_threads(1)
    imported = time.perf_counter()
    model = TransformerBridge.boot_transformers(sys.argv[1], device="cpu")
    loaded = time.perf_counter()
    say({"import_seconds": imported - BEGAN, "load_seconds": loaded - imported})
    for _ in sys.stdin:
        began = time.perf_counter()
        values = model.OV.eigenvalues
        seconds = time.perf_counter() - began
        say(
            {
                "seconds": seconds,
                "dtype": str(values.dtype),
                "largest": values.abs().amax(-1).tolist(),
            }
        )


def say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
