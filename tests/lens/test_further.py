"""One shared block followed beyond the loops that it was trained with: what a longer model says,
told beside.
"""

import csv
import json
from typing import Any

import numpy as np
import pytest
from small_models import build
from words import sentences, tokenizer

from eigenloop import report
from eigenloop.lens import Alignment, alignment, load
from eigenloop.lens.model.loaded import Model, lengthened
from eigenloop.lens.page.text import alignment_section
from eigenloop.lens.survey import survey
from eigenloop.lens.text.estimates import STATISTICS
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")

LOOPS = 3
QUICK: dict[str, Any] = {"resamples": 99, "draws": 99}
TEXT = sentences(40)


def one_block(loops: int = LOOPS, *, seed: int = 7) -> Model:
    """A tiny ALBERT with one block; how often it is applied changes no weight."""
    model = build("albert", num_hidden_groups=1, inner_group_num=1, num_hidden_layers=loops)
    # drawn as for training: with larger biases all tokens become one; and as no random copy
    torch.manual_seed(seed)
    return load(type(model)(model.config).eval(), tokenizer=tokenizer())


@pytest.fixture(scope="module")
def found() -> Alignment:
    return alignment(one_block(), TEXT, **QUICK)


def test_the_trained_loops_are_those_of_a_run_that_ends_there(found):
    """To the last digit, p-values included: what comes after is no part of their family of
    tests.
    """
    alone = alignment(one_block(), TEXT, loops=LOOPS, **QUICK)
    assert alone.beyond == ()
    assert alone.continued() == []
    assert found.layers == alone.layers
    assert found.headline == alone.headline
    assert [layer.layer for layer in found.beyond] == [3, 4, 5]


def test_the_others_are_those_of_a_model_with_more_loops(found):
    """The oracle: the same weights in a checkpoint whose configuration says so."""
    longer = alignment(one_block(2 * LOOPS), TEXT, loops=2 * LOOPS, **QUICK)
    for ours, theirs in zip(found.beyond, longer.layers[LOOPS:], strict=True):
        assert (ours.layer, ours.block, ours.flag) == (theirs.layer, theirs.block, theirs.flag)
        for name in STATISTICS:
            a, b = ours[name], theirs[name]
            assert (a.value, a.low, a.high) == (b.value, b.low, b.high), name
            assert {kind: null.mean for kind, null in a.nulls.items()} == {
                k: n.mean for k, n in b.nulls.items()
            }
        assert [head.statistics["ratio"].value for head in ours.heads] == [
            head.statistics["ratio"].value for head in theirs.heads
        ]


def test_a_model_is_put_back_as_it_was():
    model = one_block()
    with lengthened(model, 7) as longer:
        assert longer.stack.schedule == (0,) * 7
        assert model.module.config.num_hidden_layers == 7
    assert model.module.config.num_hidden_layers == LOOPS
    with pytest.raises(ZeroDivisionError), lengthened(model, 7):
        _ = 1 / 0
    assert model.module.config.num_hidden_layers == LOOPS
    assert model.stack.schedule == (0,) * LOOPS


def test_tables_and_json_mark_what_is_beyond(found, tmp_path):
    with found.save(tmp_path).open() as lines:
        rows = list(csv.DictReader(lines))
    assert {(row["layer"], row["beyond"]) for row in rows} == {
        *((str(k), "False") for k in range(LOOPS)),
        *((str(k), "True") for k in range(LOOPS, 2 * LOOPS)),
    }
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert [each["layer"] for each in plain["beyond"]] == [3, 4, 5]
    assert set(STATISTICS) <= set(plain["beyond"][0])
    assert "verdict" not in plain["beyond"][0]
    assert [len(layers) for layers in plain["headline"]["layers"].values()] == [0, LOOPS, 0]
    assert plain["continued"] == found.continued()


def test_the_page_tells_them_in_a_table_of_their_own(found):
    section = alignment_section(found)
    tables = [item for item in section.body if isinstance(item, report.Table)]
    (beyond,) = (
        table for table in tables if table.caption.startswith(f"Beyond the trained {LOOPS} loops")
    )
    assert [row.cells[0] for row in beyond.body] == [3, 4, 5]
    assert [len(table.body) for table in tables[:2]] == [LOOPS, LOOPS]
    drawn = [item for item in section.body if isinstance(item, report.Figure)]
    shares = [layer["enrichment_after"].value for layer in (*found.layers, *found.beyond)]
    assert f"share after {', '.join(f'{share:.3g}' for share in shares)};" in drawn[0].alt


def test_what_is_said_of_them_is_counted_from_their_numbers(found):
    first, second = found.continued()
    last, end = found.layers[-1], found.beyond[-1]
    for name, words in {
        "enrichment_after": "chance,",
        "centred_after": "centred share",
        "gain_slope": "slope",
    }.items():
        assert f"{words} from {last[name].value:.2f} to {end[name].value:.2f}" in first
    assert "from loop 2 to loop 5: the share after" in first
    grows = sum(layer["ratio"].low > 1 for layer in found.beyond)
    shrinks = sum(layer["ratio"].high < 1 for layer in found.beyond)
    assert (
        f"In these {LOOPS} loops the sublayer lets the share grow in {grows} and shrink in"
        f" {shrinks} (" in second
    )
    values = sum(
        layer["enrichment_after"].low > layer["no_values_after"].high for layer in found.beyond
    )
    own = sum(layer["share_percentile_after"].value >= 95 for layer in found.beyond)
    assert f"own eigen-directions in {own}, above the run with W_V = 0 in {values}." in second


def test_a_number_of_loops_needs_one_shared_block_and_no_fewer_than_trained():
    with pytest.raises(
        InputError, match=rf"loops is 2; .* was trained with {LOOPS}, so give at least {LOOPS}"
    ):
        alignment(one_block(), TEXT, loops=2, **QUICK)
    with pytest.raises(
        InputError, match=r"loops is 9, but .* has 3 layers; tokens are followed beyond the trained"
    ):
        alignment(load(build("bert"), tokenizer=tokenizer()), TEXT, loops=9, **QUICK)
    grouped = load(build("albert"), tokenizer=tokenizer())
    with pytest.raises(InputError, match=r"loops is 20, but .* has 6 blocks"):
        alignment(grouped, TEXT, loops=20, **QUICK)


def test_nothing_that_is_shown_of_one_block_calls_it_a_layer_with_a_number(tmp_path, monkeypatch):
    """Page, summary and notes, of a text, a loop, and another checkpoint."""
    import eigenloop.lens.survey as module

    monkeypatch.setattr(module, "alignment", lambda *a, **k: alignment(*a, **k, **QUICK))
    text = tmp_path / "text.txt"
    text.write_text("\n".join(TEXT))
    model = one_block()
    whole = survey(model, text=text, loop=0, loops=5, compare_with=one_block(seed=1).module)
    words = [
        report.render(whole.page(command="eigenloop lens ...")),
        *whole.sentences(),
        *whole.notes(),
    ]
    for wrong in (
        "ayer 0",
        "ayers 0",
        "layer by layer",
        "of 1 layer",
        "1 blocks",
        f"of {LOOPS} layers",
    ):
        assert not [each for each in words if wrong in each], wrong
    assert "The one block, looped" in words[0]


def test_the_command_counts_loops(tmp_path, capsys):
    from eigenloop.cli import main

    one_block().module.save_pretrained(tmp_path)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["lens", str(tmp_path), "--weights-only"])
    out = capsys.readouterr().out
    assert f"F = W_O W_V of one block, applied {LOOPS} times; raw weights" in out
    assert "ayer" not in out.replace("rule layernorm", "").split("raw weights")[1]


def test_blocks_that_share_by_groups_stay_layers_of_blocks(tmp_path):
    """Two groups: half of the layers apply one block, and are no loops of the model's one block."""
    model = build("albert", num_hidden_groups=2, inner_group_num=1, num_hidden_layers=4)
    half = alignment(load(model, tokenizer=tokenizer()), TEXT, layers="0", **QUICK)
    assert ([layer.block for layer in half.layers], half.unit, half.beyond) == ([0, 0], "layer", ())
    assert (half.looped, np.all([layer.layer < 2 for layer in half.layers])) == (False, True)
