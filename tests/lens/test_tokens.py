"""States as the model makes them: for every architecture, whatever the batch; hooks gone;
nothing kept.
"""

import copy
import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from small_models import CONFIGS, build
from words import sentences, tokenizer

from eigenloop.lens.model.loaded import load
from eigenloop.lens.text.texts import encode, passages
from eigenloop.lens.text.tokens import States, images, states, stream
from eigenloop.lens.weights.circuits import circuits
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")

TEXT_MODELS = [name for name in CONFIGS if name != "vit"]


def model(model_type, **changes):
    return load(build(model_type, **changes).double(), tokenizer=tokenizer())


def everything(loaded, **options):
    """The states of a ViT on random images, of others on random words."""
    if loaded.takes_text:
        return states(loaded, sentences(7), **options)
    found = []
    pixels = np.random.default_rng(0).standard_normal((3, 3, 16, 16))
    assert stream(loaded, images(pixels, per_batch=3), found.append) == 1
    return found


@pytest.mark.parametrize("model_type", CONFIGS)
def test_states_are_chained_by_the_models_own_arithmetic(model_type):
    """Each layer takes the last one's output; LN(x) or LN(x + o) is the norm's; o is rebuilt for
    single tokens.
    """
    loaded = model(model_type)
    found = everything(loaded)
    assert [state.block for state in found] == list(loaded.stack.schedule)
    assert [state.layer for state in found] == list(range(len(found)))
    for state, following in itertools.pairwise(found):
        np.testing.assert_array_equal(state.output, following.before)
    for state in found:
        norm = circuits(loaded.stack, state.block).norm
        expected = norm(state.before if norm.placement == "pre" else state.after)
        # RMSNorm in transformers computes in float32
        tolerance = 1e-5 if norm.kind == "rms" else 1e-9
        assert state.normed is not None
        np.testing.assert_allclose(state.normed, expected, rtol=tolerance, atol=tolerance)
        assert state.before.dtype == np.float64


@pytest.mark.parametrize("model_type", CONFIGS)
def test_what_is_written_is_the_attention_of_the_circuit(model_type):
    """x + o from F_h and the model's own patterns, on one passage without padding."""
    loaded = model(model_type)
    if model_type == "vit":
        inputs = {"pixel_values": torch.randn(1, 3, 16, 16, dtype=torch.float64)}
        batch = images(inputs["pixel_values"].numpy())
    else:
        encoded = encode(loaded, passages(["w5 w9 w7 w30 w12 w5"]), special=True)
        batch = encoded.batches
        inputs = {name: torch.as_tensor(array) for name, array in batch[0].inputs.items()}
    with loaded.running() as trunk:
        patterns = trunk(**inputs, output_attentions=True).attentions
    found = []
    stream(loaded, batch, found.append)
    assert len(found) == len(patterns)
    for state, pattern in zip(found, patterns, strict=True):
        circuit = circuits(loaded.stack, state.block)
        seen = state.normed if circuit.norm.placement == "pre" else state.before
        assert seen is not None
        expected = circuit.attend(seen, pattern[0].numpy())
        np.testing.assert_allclose(
            state.written, expected, rtol=0, atol=1e-8 * np.abs(expected).max()
        )


@pytest.mark.parametrize("model_type", TEXT_MODELS)
def test_padding_changes_nothing_and_is_not_there(model_type):
    """A batch of passages of all lengths gives the states of each passage alone (some softmax
    runs in float32).
    """
    loaded, text = model(model_type), sentences(7)
    together = states(loaded, text)
    assert len(together[0].passage) == sum(len(passage.split()) for passage in text)
    for number, passage in enumerate(text):
        alone = states(loaded, [passage])
        for layer, mine in zip(together, alone, strict=True):
            for name in ("before", "written", "normed", "output"):
                ours, theirs = getattr(layer, name)[layer.passage == number], getattr(mine, name)
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


def test_special_tokens_are_there_where_asked_for():
    loaded = model("bert")
    without, with_them = (
        states(loaded, ["w5 w6", "w7"], special=special)[0] for special in (False, True)
    )
    np.testing.assert_array_equal(without.position, [1, 2, 1])
    np.testing.assert_array_equal(with_them.position, [0, 1, 2, 3, 0, 1, 2])
    inner = np.isin(np.arange(7), [1, 2, 5])
    np.testing.assert_array_equal(with_them.before[inner], without.before)


def test_a_split_passage_comes_back_in_order():
    loaded = model("bert")
    found = states(loaded, ["w5", " ".join(f"w{5 + i % 45}" for i in range(70))])[0]
    np.testing.assert_array_equal(found.passage, [0] + [1] * 70)
    np.testing.assert_array_equal(found.piece, [0] + [0] * 30 + [1] * 30 + [2] * 10)
    np.testing.assert_array_equal(found.position[1:31], np.arange(1, 31))


def test_shared_weights_give_a_state_for_every_loop():
    loaded = model("albert", num_hidden_groups=1, inner_group_num=1)
    found = states(loaded, sentences(4))
    assert [state.block for state in found] == [0] * 6
    assert [state.layer for state in found] == list(range(6))
    assert all(not np.array_equal(a.before, b.before) for a, b in itertools.pairwise(found))


def hooks(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_hooks_are_gone_after_an_exception():
    loaded = model("gpt2")
    encoded = encode(loaded, passages(sentences(4)))

    def fail(state: States) -> None:
        assert hooks(loaded.module) > 0
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        stream(loaded, encoded.batches, fail)
    assert hooks(loaded.module) == 0
    seen = []
    assert stream(loaded, encoded.batches, seen.append) == len(encoded.batches)
    assert len(seen) == 3 * len(encoded.batches)
    assert hooks(loaded.module) == 0


def test_layers_that_are_skipped_or_swapped_or_not_finite_are_noticed():
    loaded = model("gpt2")
    batches = encode(loaded, passages(sentences(4))).batches
    longer = replace(loaded, stack=replace(loaded.stack, schedule=(0, 1, 2, 2)))
    with pytest.raises(
        InputError,
        match=r"GPT2Model passed through 3 of 4 layers \(h\.\{\}\); correct block or layers",
    ):
        stream(longer, batches, lambda state: None)
    swapped = replace(loaded, stack=replace(loaded.stack, schedule=(1, 0, 2)))
    with pytest.raises(
        InputError, match="GPT2Model applied block 0 as layer 0, against its layout"
    ):
        stream(swapped, batches, lambda state: None)
    wrong = copy.copy(loaded.stack)
    object.__setattr__(wrong, "layout", replace(wrong.layout, output="attn.resid"))
    with pytest.raises(
        InputError,
        match=r"GPT2Model never called h\.\{\}\.attn\.resid in layer 0; correct the layout",
    ):
        stream(replace(loaded, stack=wrong), batches, lambda state: None)
    with torch.no_grad():
        loaded.module.h[2].mlp.c_fc.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match="the states in layer 2 of GPT2Model are not finite"):
        stream(loaded, batches, lambda state: None)
    assert hooks(loaded.module) == 0


def test_memory_does_not_grow_with_the_text():
    """Peak of NumPy's memory while sums are made of the states of 4 and of 40 batches."""
    loaded = load(build("gpt2", n_embd=64, n_positions=512), tokenizer=tokenizer())
    sums = np.zeros((3, 64))

    def add(state: States) -> None:
        sums[state.layer] += state.before.sum(0)

    peaks = []
    for count in (4, 40):
        batches = encode(loaded, passages([" ".join(["w7"] * 500)] * 4)).batches * count
        tracemalloc.start()
        stream(loaded, batches[:count], add)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    one_batch = 4 * 500 * 64 * 4 * 4  # four states of a layer
    assert peaks[1] < 1.2 * peaks[0] < 4 * one_batch, peaks
