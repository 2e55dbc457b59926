"""Edits reach the tensors of every architecture, and leave them bit for bit; hooks and weights
survive an exception.
"""

import numpy as np
import pytest
from small_models import CONFIGS, build
from steer_models import site, speaking, unit, white

from eigenloop.lens import circuits
from eigenloop.lens.model.loaded import load
from eigenloop.steer import Site, activation_addition, applied, changed_tensors, signed
from eigenloop.steer.edits import PARTS
from eigenloop.steer.methods import bias
from eigenloop.steer.prompts import Prompts
from eigenloop.steer.running import forward, layer_inputs
from eigenloop.steer.writing import has_bias
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")


def edited(model, layer: int = 1, strength: float = 0.3):
    circuit = circuits(model.stack, layer)
    output, value = has_bias(model.stack, layer)
    where = Site(circuit=circuit, reading=white(circuit), output_bias=output, value_bias=value)
    return signed(where, unit(circuit.width), strength=strength)


@pytest.mark.parametrize("model_type", CONFIGS)
def test_a_model_holds_the_edited_circuit_and_gets_its_bits_back(model_type):
    model = load(build(model_type).double())
    edit = edited(model)
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    with applied(model, [edit]):
        now = circuits(model.stack, 1)
        for part in PARTS:
            np.testing.assert_array_equal(getattr(now, part), getattr(edit.after, part))
        other = circuits(model.stack, 0)
        changed = {
            name
            for name, t in model.module.state_dict().items()
            if not torch.equal(t, before[name])
        }
    assert changed == set(changed_tensors(model.stack, [edit]))
    assert len(changed) >= 2
    for part in PARTS:
        np.testing.assert_array_equal(getattr(other, part), getattr(circuits(model.stack, 0), part))
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items()
    )


def test_an_exception_puts_the_weights_back():
    model = load(build("gpt2"))
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    with pytest.raises(RuntimeError, match="inside"), applied(model, [edited(model)]):
        raise RuntimeError("inside")
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items()
    )


def test_only_entries_that_differ_are_rewritten():
    """Query and key parts of a fused matrix, and other heads, keep their float32 bits."""
    model = load(build("gpt2"))
    edit = edited(model)
    name = "h.1.attn.c_attn.weight"
    old = model.stack.weights.tensors.read(name)
    new = changed_tensors(model.stack, [edit])[name]
    rows = 64 + 8 * edit.heads[0] + np.arange(8)
    others = np.setdiff1d(np.arange(96), rows)
    np.testing.assert_array_equal(new[:, others].astype(np.float32), old[:, others])
    assert np.all(np.any(new[:, rows] != old[:, rows], axis=0))


def test_a_bias_that_is_not_there_is_refused():
    where = site("llama")
    edit = bias(Site(circuit=where.circuit, reading=where.reading), unit(32), strength=0.1)
    with pytest.raises(InputError, match=r"has no layers.1.self_attn.o_proj.bias"):
        changed_tensors(load(build("llama")).stack, [edit])
    model = load(build("gpt2"))
    with pytest.raises(InputError, match="two edits of one layer"):
        changed_tensors(model.stack, [edited(model), edited(model)])


def prompts(seed: int = 0, n: int = 3, t: int = 7) -> Prompts:
    return Prompts(np.random.default_rng(seed).integers(5, 50, (n, t)), 0, 0)


@pytest.mark.parametrize("model_type", ["gpt2", "bert", "albert", "llama"])
def test_layers_read_what_hooks_of_ones_own_see(model_type):
    model = load(build(model_type))
    layout = model.stack.layout
    block = model.stack.schedule[-1]
    seen = []
    module = model.submodule(block, layout.value)
    handle = module.register_forward_pre_hook(
        lambda m, a: seen.append(a[0].detach().numpy().copy())
    )
    found = layer_inputs(model, prompts(), [block])[block]
    handle.remove()
    np.testing.assert_allclose(found.x, np.concatenate(seen).reshape(-1, 32), rtol=0, atol=1e-6)
    assert len(found.x) == 21 * model.stack.schedule.count(block)
    norm = circuits(model.stack, block).norm
    if layout.placement == "post":
        np.testing.assert_allclose(found.lengths, np.linalg.norm(found.x, axis=1), rtol=1e-12)
    else:  # the normalisation of a stream of that length, up to what P takes out, gives x
        assert np.all(found.lengths > 0)
        assert not np.allclose(found.lengths, np.linalg.norm(found.x, axis=1))
        assert norm.placement == "pre"


def test_adding_after_the_last_block_shifts_final_states_by_exactly_that():
    model = load(speaking("gpt2").double())
    vector = 0.3 * unit(32)
    (before, _), *_ = forward(model, prompts())
    with activation_addition(model, {2: vector}):
        (after, _), *_ = forward(model, prompts())
    np.testing.assert_allclose(
        (after - before).numpy(), np.broadcast_to(vector, before.shape), atol=1e-12
    )
    with pytest.raises(RuntimeError, match="inside"), activation_addition(model, {2: vector}):
        raise RuntimeError("inside")
    (again, _), *_ = forward(model, prompts())
    assert torch.equal(again, before)
    assert all(not module._forward_hooks for module in model.module.modules())


def test_final_states_are_the_stream_before_the_final_norm():
    model = load(build("gpt2"))
    (states, returned), *_ = forward(model, prompts(), trunk=True)
    with torch.no_grad():
        np.testing.assert_allclose(
            model.module.ln_f(states).numpy(), returned.last_hidden_state.numpy(), rtol=0, atol=1e-6
        )


def test_a_bias_edit_equals_activation_addition_at_the_sublayers_output():
    model = load(build("bert").double())
    circuit = circuits(model.stack, 1)
    edit = bias(Site(circuit=circuit, reading=white(circuit)), unit(32), strength=0.1)
    with applied(model, [edit]):
        (stored, _), *_ = forward(model, prompts(), trunk=True)
    added = torch.as_tensor(0.1 * 10.0 * unit(32))
    module = model.submodule(1, model.stack.layout.output)
    handle = module.register_forward_hook(lambda m, a, r: r + added)
    (hooked, _), *_ = forward(model, prompts(), trunk=True)
    handle.remove()
    np.testing.assert_allclose(stored.numpy(), hooked.numpy(), rtol=0, atol=1e-12)
