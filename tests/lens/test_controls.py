"""Runs with something taken out: what is left is what the weights say, and nothing stays
changed.
"""

import numpy as np
import pytest
from small_models import CONFIGS, build
from words import sentences, tokenizer

from eigenloop.lens import circuits, encode, load, passages, stream
from eigenloop.lens.text.controls import without_feed_forward, without_values
from eigenloop.lens.text.tokens import States

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")

TEXT_MODELS = [name for name in CONFIGS if name != "vit"]


def streamed(model) -> list[States]:
    found: list[States] = []
    stream(model, encode(model, passages(sentences(6))).batches, found.append)
    return found


@pytest.mark.parametrize("model_type", TEXT_MODELS)
def test_without_values_attention_adds_its_biases_and_nothing_else(model_type):
    """o_i = b_O + sum_h W_O^h b_V^h for every token, from the weights alone."""
    model = load(build(model_type), tokenizer=tokenizer())
    with without_values(model):
        found = streamed(model)
    assert {state.layer for state in found} == set(range(len(model.stack.schedule)))
    for state in found:
        circuit = circuits(model.stack, state.block)
        expected = circuit.output_bias.astype(float)
        for head in range(circuit.heads):
            expected = expected + circuit.output[head] @ circuit.value_bias[circuit.group(head)]
        np.testing.assert_allclose(
            state.written, np.broadcast_to(expected, state.written.shape), rtol=0, atol=2e-5
        )


@pytest.mark.parametrize("model_type", TEXT_MODELS)
def test_without_feed_forward_a_block_hands_on_what_its_attention_gives(model_type):
    model = load(build(model_type), tokenizer=tokenizer())
    post = circuits(model.stack, 0).norm.placement == "post"
    whole = streamed(model)
    with without_feed_forward(model):
        found = streamed(model)
    last: dict[int, np.ndarray] = {}
    for state, ordinary in zip(found, whole, strict=True):
        norm = circuits(model.stack, state.block).norm
        expected = norm(state.after.astype(float)) if post else state.after
        np.testing.assert_allclose(state.output, expected, rtol=1e-4, atol=1e-4)
        if state.layer:
            np.testing.assert_array_equal(state.before, last[state.layer - 1])
        else:
            np.testing.assert_array_equal(state.after, ordinary.after)
            assert np.abs(state.output - ordinary.output).max() > 0.1
        last[state.layer] = state.output


@pytest.mark.parametrize("without", [without_values, without_feed_forward])
def test_the_model_is_as_before_also_after_an_error(without):
    model = load(build("gpt2"), tokenizer=tokenizer())
    weights = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    before = streamed(model)
    with pytest.raises(KeyboardInterrupt), without(model):
        raise KeyboardInterrupt
    for one, other in zip(before, streamed(model), strict=True):
        np.testing.assert_array_equal(one.output, other.output)
    for name, tensor in model.module.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert all(
        not part._forward_hooks and not part._forward_pre_hooks for part in model.module.modules()
    )
