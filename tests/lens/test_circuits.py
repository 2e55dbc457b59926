"""Circuits read from a model reproduce its attention, for every architecture; folding is exact;
sizes are checked.
"""

from dataclasses import replace

import numpy as np
import pytest
from small_models import CONFIGS, build

from eigenloop.lens import LAYOUTS, Norm, circuits, planted
from eigenloop.lens.model.checkpoint import Weights, open_weights
from eigenloop.lens.model.layouts import Layout, known
from eigenloop.lens.model.stack import locate
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def attention_calls(model, layer_names, layout):
    """For each application of each layer: (block, input of the attention, its output), and the
    patterns, as NumPy.
    """
    calls, hooks, seen = [], [], {}

    def keep_input(name):
        def hook(module, arguments):
            seen[name] = arguments[0].detach().clone()

        return hook

    def keep_output(name):
        def hook(module, arguments, result):
            calls.append((name, seen[name].numpy(), result.detach().clone().numpy()))

        return hook

    for index, name in enumerate(layer_names):
        hooks.append(
            model.get_submodule(f"{name}.{layout.value}").register_forward_pre_hook(
                keep_input(index)
            )
        )
        hooks.append(
            model.get_submodule(f"{name}.{layout.output}").register_forward_hook(keep_output(index))
        )
    generator = torch.Generator().manual_seed(1)
    if model.config.model_type == "vit":
        inputs = {"pixel_values": torch.randn(2, 3, 16, 16, generator=generator, dtype=model.dtype)}
    else:
        inputs = {"input_ids": torch.randint(2, 50, (2, 9), generator=generator)}
    with torch.no_grad():
        patterns = model(**inputs, output_attentions=True).attentions
    for hook in hooks:
        hook.remove()
    return calls, [pattern.numpy() for pattern in patterns]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("model_type", CONFIGS)
def test_attention_is_rebuilt_from_the_heads_and_the_patterns(model_type, dtype):
    model = build(model_type).to(getattr(torch, dtype))
    stack = locate(model)
    calls, patterns = attention_calls(model, stack.blocks, stack.layout)
    assert len(calls) == len(patterns) == len(stack.schedule) >= 3
    assert [block for block, _, _ in calls] == list(stack.schedule)
    for (block, x, expected), pattern in zip(calls, patterns, strict=True):
        circuit = circuits(stack, block)
        assert circuit.output.dtype == circuit.value.dtype == np.dtype(dtype)
        rebuilt = circuit.attend(x, pattern)
        error = np.linalg.norm(rebuilt - expected) / np.linalg.norm(expected)
        assert error < TOLERANCE[dtype], (model_type, block, error)


REST = ("mlp", "post_attention_layernorm")
"""What stands beside the feed-forward of a block that is named as Llama's."""


@pytest.mark.parametrize(
    ("model_type", "changes"),
    [
        (
            "granite",
            {"residual_multiplier": 1.0, "attention_multiplier": 0.1, "embedding_multiplier": 12.0},
        ),
        ("qwen3", {}),
    ],
)
def test_what_a_layout_of_ones_own_accepts_is_what_the_block_adds(model_type, changes):
    """Granite without a residual multiplier, and Qwen 3: x + o goes on, o from F_h, patterns and
    the layout's norm.
    """
    model = build(model_type, **changes).double()
    layout = replace(known("llama")[0], model_type=model_type, rest=REST)
    stack = locate(model, layout)
    assert stack.notes
    seen: dict[str, list[np.ndarray]] = {"before": [], "after": []}

    def keep(name):
        return lambda module, arguments: seen[name].append(arguments[0].detach().numpy().copy())

    hooks = []
    for name in stack.blocks:
        hooks.append(model.get_submodule(name).register_forward_pre_hook(keep("before")))
        hooks.append(
            model.get_submodule(f"{name}.post_attention_layernorm").register_forward_pre_hook(
                keep("after")
            )
        )
    calls, patterns = attention_calls(model, stack.blocks, layout)
    for hook in hooks:
        hook.remove()
    streams = zip(seen["before"], seen["after"], strict=True)
    for (block, x, expected), pattern, (before, after) in zip(
        calls, patterns, streams, strict=True
    ):
        circuit = circuits(model, block, layout=layout)
        rebuilt = circuit.attend(x, pattern)
        assert np.linalg.norm(rebuilt - expected) < 1e-10 * np.linalg.norm(expected)
        whole = before + circuit.attend(circuit.norm(before), pattern)
        # RMSNorm computes in float32
        assert np.linalg.norm(whole - after) < 1e-5 * np.linalg.norm(after - before)


def test_every_row_is_tested():
    assert {row.model_type for row in LAYOUTS} == CONFIGS.keys()


@pytest.mark.parametrize("model_type", CONFIGS)
def test_heads_add_up_and_biases_too(model_type):
    stack = locate(build(model_type))
    circuit = circuits(stack, 1)
    total = sum(circuit.head(h) for h in range(circuit.heads))
    np.testing.assert_allclose(circuit.matrix(), total, rtol=0, atol=1e-12 * np.abs(total).max())
    left, right = (factor.astype(np.float64) for factor in circuit.summed_factors())
    np.testing.assert_allclose(left @ right, total, rtol=0, atol=1e-12 * np.abs(total).max())
    # one token that attends to itself: o = F x + b_eff
    x = np.random.default_rng(0).standard_normal((1, circuit.width))
    out = circuit.attend(x, np.ones((circuit.heads, 1, 1)))
    np.testing.assert_allclose(
        out[0], total @ x[0] + circuit.effective_bias(), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("model_type", CONFIGS)
def test_the_norm_is_the_models_own(model_type):
    """Both the gain and the epsilon, on inputs small enough for the epsilon to matter."""
    model = build(model_type).double()
    stack = locate(model)
    norm = circuits(stack, 1).norm
    x = 1e-3 * torch.randn(
        3, norm.gain.size, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    with torch.no_grad():
        expected = model.get_submodule(stack.module(1, stack.layout.norm))(x).numpy()
    tolerance = 1e-5 if norm.kind == "rms" else 1e-12  # RMSNorm in transformers computes in float32
    np.testing.assert_allclose(norm(x.numpy()), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_opt_follows_its_configuration(placement):
    model = build("opt", do_layer_norm_before=placement == "pre")
    assert circuits(model, 0).norm.placement == placement


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "gemma"])
def test_folding_before_the_attention_is_exact(model_type):
    circuit = circuits(build(model_type), 2)
    folded = circuit.folded()
    assert folded.operator == ("F diag(gain) P" if model_type == "gpt2" else "F diag(gain)")
    rng = np.random.default_rng(0)
    x = 3 + rng.standard_normal((5, circuit.width))
    pattern = rng.dirichlet(np.ones(5), (circuit.heads, 5))
    expected = circuit.attend(circuit.norm(x), pattern)
    scaled = folded.attend(x / circuit.norm.sigma(x)[:, None], pattern)
    np.testing.assert_allclose(scaled, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


def test_folding_after_the_attention_is_exact():
    circuit = circuits(build("bert"), 2)
    folded = circuit.folded()
    assert folded.operator == "diag(gain) P F"
    rng = np.random.default_rng(0)
    x = 3 + rng.standard_normal((5, circuit.width))
    pattern = rng.dirichlet(np.ones(5), (circuit.heads, 5))
    stream = x + circuit.attend(x, pattern)
    own = circuit.norm.after(x.T).T + folded.attend(x, pattern)
    expected = circuit.norm(stream)
    np.testing.assert_allclose(
        own / circuit.norm.sigma(stream)[:, None] + circuit.norm.bias, expected, rtol=1e-10
    )


def test_only_what_is_asked_for_is_folded():
    rng = np.random.default_rng(0)
    norm = Norm(
        gain=rng.uniform(1, 2, 4),
        bias=rng.standard_normal(4),
        eps=0.0,
        kind="layer",
        placement="pre",
    )
    matrix = rng.standard_normal((4, 4))
    circuit = planted(matrix, norm=norm)
    centring = np.eye(4) - 0.25
    assert circuit.operator == "F"
    np.testing.assert_allclose(circuit.matrix(), matrix)
    for gain, center, expected in (
        (True, False, matrix * norm.gain),
        (False, True, matrix @ centring),
        (True, True, matrix @ np.diag(norm.gain) @ centring),
    ):
        folded = circuit.folded(gain=gain, center=center)
        np.testing.assert_allclose(folded.matrix(), expected, atol=1e-14)
        assert folded.operator == " ".join(["F", *["diag(gain)"] * gain, *["P"] * center])
    with pytest.raises(InputError, match="folded already"):
        circuit.folded().folded()


def test_orientation_is_pinned_by_a_model_whose_answer_is_known():
    """GPT-2 with W_V = I and W_O = a shift: the head must move entry 0 to entry 1, not back."""
    model = build("gpt2", n_head=1)
    shift = np.roll(np.eye(32), 1, axis=0)  # shift @ e_0 = e_1
    attention = model.h[0].attn
    with torch.no_grad():
        attention.c_attn.weight[:, 64:] = torch.eye(32)
        attention.c_proj.weight.copy_(torch.tensor(shift).T)  # Conv1D holds the transpose
    found = circuits(model, 0)
    assert (found.head(0) @ np.eye(32)[0]).argmax() == 1
    np.testing.assert_array_equal(found.matrix(), shift)


@pytest.mark.parametrize("model_type", ["gpt2", "gpt_neox", "llama"])
def test_query_and_key_are_read_from_where_they_are(model_type):
    """The scores of the model's own query and key modules, head by head."""
    model = build(model_type)
    stack = locate(model)
    x = torch.randn(6, 32, generator=torch.Generator().manual_seed(3))
    block, layout = model.get_submodule(stack.blocks[1]), stack.layout
    for role in ("query", "key", "value"):
        weight, bias = stack.projection(1, role)
        with torch.no_grad():
            full = block.get_submodule(layout.module(role))(x).numpy()
        ours = np.einsum("hkd,nd->nhk", weight, x.numpy()) + bias
        part = ("query", "key", "value").index(role)
        if model_type == "gpt2":
            full = full.reshape(6, 3, 4, 8)[:, part]
        elif model_type == "gpt_neox":
            full = full.reshape(6, 4, 3, 8)[:, :, part]
        else:
            full = full.reshape(6, -1, 8)
        np.testing.assert_allclose(ours, full, rtol=1e-4, atol=1e-5)


def test_a_layout_of_ones_own_reads_an_unknown_architecture():
    read = open_weights(build("bert"))
    model = Weights({**read.config, "model_type": "my_bert"}, read.tensors, "mine")
    with pytest.raises(
        InputError, match=r"'my_bert' has no layout here .*bert, albert.*layout=Layout"
    ):
        locate(model)
    row = next(row for row in LAYOUTS if row.model_type == "bert")
    own = Layout(**{**vars(row), "model_type": "my_bert", "rest": ("intermediate", "output")})
    np.testing.assert_array_equal(
        circuits(model, 1, layout=own).matrix(), circuits(build("bert"), 1).matrix()
    )


def test_bad_layers_heads_and_sizes_are_said_with_their_bounds():
    model = build("albert")
    with pytest.raises(
        InputError,
        match="layer 6 does not exist: AlbertModel has layers 0 to 5, applied in 12 layers",
    ):
        circuits(model, 6)
    with pytest.raises(InputError, match="layer -1 does not exist"):
        circuits(model, -1)
    with pytest.raises(InputError, match="head 4 does not exist: layer 0 has heads 0 to 3"):
        circuits(model, 0).factors(4)
    gpt2 = build("gpt2")
    gpt2.config.n_head = 5
    with pytest.raises(
        InputError, match=r"n_head is 5 in config.json, which does not divide the 32 inputs"
    ):
        locate(gpt2)
    gpt2.config.n_head, gpt2.config.n_layer = 4, 7
    with pytest.raises(
        InputError, match=r"config\.json says 7 layers; GPT2Model holds 3: the checkpoint is inc"
    ):
        locate(gpt2)
