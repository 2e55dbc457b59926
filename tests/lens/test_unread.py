"""A layout that the caller wrote: what it does not read of a block and of config.json is refused
or named.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_models import CONFIGS, FOREIGN, build

from eigenloop import lens
from eigenloop.lens.model.layouts import known
from eigenloop.lens.model.stack import locate
from eigenloop.lens.model.unread import SETTINGS
from eigenloop.system.errors import InputError

LLAMA, GPT2, (VIT, OLD_VIT), NEOX = (
    known("llama")[0],
    known("gpt2")[0],
    known("vit"),
    known("gpt_neox")[0],
)
REST = ("mlp", "post_attention_layernorm")


def saved(tmp_path: Path, model_type: str, **changes) -> Path:
    """A tiny random checkpoint as transformers writes it."""
    pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")
    build(model_type, **changes).save_pretrained(tmp_path)
    return tmp_path


def written(directory: Path, **settings) -> Path:
    """The same with other settings in its config.json."""
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **settings}))
    return directory


@pytest.mark.parametrize(
    ("model_type", "layout", "message"),
    [
        (
            "olmo2",
            LLAMA,
            (
                r"no tensor layers\.0\.input_layernorm\.weight, but the block has"
                r" .*post_attention_layernorm"
            ),
        ),
        (
            "olmo2",
            replace(LLAMA, norm="post_attention_layernorm"),
            "a block has post_feedforward_layernorm, which no",
        ),
        (
            "gemma2",
            replace(LLAMA, gain_offset=1.0),
            r"a block has .*post_attention_layernorm.*post_feedforward_layern",
        ),
        (
            "gemma2",
            replace(LLAMA, rest=REST),
            "a block has p[a-z]*_feedforward_layernorm, p[a-z]*_feedf",
        ),
        (
            "granite",
            LLAMA,
            "a block has post_attention_layernorm, which no field of the layout reads",
        ),
        (
            "granite",
            replace(LLAMA, rest=REST),
            r"config\.json says residual_multiplier 0\.25, which mult",
        ),
        (
            "dinov2",
            replace(OLD_VIT, norm="norm1", rest=("mlp", "norm2")),
            r"a block has layer_scale1\.lambda1, layer_scale2\.lambda1, which no field",
        ),
        (
            "beit",
            replace(OLD_VIT, rest=("intermediate", "layernorm_after")),
            "a block has lambda_1, lambda_2, which",
        ),
        (
            "bloom",
            replace(
                NEOX,
                block="h.{}",
                query="self_attention.query_key_value",
                key="self_attention.query_key_value",
                value="self_attention.query_key_value",
                output="self_attention.dense",
                heads="n_head",
                layers="n_layer",
                eps="layer_norm_epsilon",
                rest=REST,
            ),
            (
                r"config\.json says apply_residual_connection_post_layernorm True, which takes the"
                r" residual after"
            ),
        ),
    ],
)
def test_what_stands_between_attention_and_residual_is_refused(
    model_type, layout, message, tmp_path
):
    changes = {
        "granite": {"residual_multiplier": 0.25},
        "bloom": {"apply_residual_connection_post_layernorm": True},
    }
    directory = saved(tmp_path, model_type, **changes.get(model_type, {}))
    layout = replace(layout, model_type=model_type)
    for use in (locate, lambda source, layout: lens.load(source, layout=layout, device="cpu")):
        with pytest.raises(InputError, match=message):
            use(directory, layout)
    with pytest.raises(InputError, match=f"model type '{model_type}' has no layout here"):
        locate(directory)


def test_what_changes_nothing_of_what_attention_adds_is_named_in_every_result(tmp_path):
    """Granite with a residual multiplier of 1, and all its others: read, and every number comes
    with what was not.
    """
    settings = {
        "residual_multiplier": 1.0,
        "attention_multiplier": 0.1,
        "embedding_multiplier": 12.0,
        "logits_scaling": 8.0,
    }
    directory = saved(tmp_path, "granite", **settings)
    layout = replace(LLAMA, model_type="granite", rest=REST)
    stack = locate(directory, layout)
    told = " ".join(stack.notes)
    assert (
        "mlp.down_proj, mlp.gate_proj, mlp.up_proj, post_attention_layernorm stand outside the"
        " attention" in told
    )
    for name, value in settings.items():
        assert (f"{name} {value}" in told) == (name != "residual_multiplier")
    model = lens.load(directory, layout=layout, device="cpu")
    assert set(stack.notes) <= set(model.notes)
    results = (
        lens.spectra(directory, layout=layout),
        lens.query_keys(directory, layout=layout),
        lens.compare(directory, directory, layout=layout),
        lens.looped(model, [1, 2, 3], loops=2),
    )
    for result in results:
        assert set(stack.notes) <= set(result.notes())


def test_norms_of_queries_and_keys_are_named_and_not_refused(tmp_path):
    layout = replace(LLAMA, model_type="qwen3", rest=REST)
    inside, *_ = locate(saved(tmp_path, "qwen3"), layout).notes
    assert "reads nothing of self_attn.k_norm, self_attn.q_norm, taken to change nothing" in inside


@pytest.mark.parametrize("model_type", CONFIGS)
def test_the_rows_that_are_tested_against_their_architecture_say_nothing(model_type, tmp_path):
    assert locate(saved(tmp_path, model_type)).notes == ()


def test_a_row_is_checked_where_the_architecture_is_another(tmp_path):
    """The very row of LAYOUTS, for a checkpoint that says it is something else; and for its own,
    without the norm.
    """
    directory = saved(tmp_path, "llama")
    assert locate(directory, LLAMA).notes == ()
    with pytest.raises(InputError, match="a block has post_attention_layernorm, which no field"):
        locate(written(directory, model_type="other"), LLAMA)
    written(directory, model_type="llama")
    tensors = load_file(directory / "model.safetensors")
    name = "layers.1.input_layernorm.weight"
    save_file(
        {key: value for key, value in tensors.items() if key != name},
        directory / "model.safetensors",
    )
    with pytest.raises(
        InputError,
        match=r"no tensor layers\.1\.input_layernorm\.weight, but the block has post_atten",
    ):
        locate(directory)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_known_setting_is_refused_or_named_unless_it_is_neutral(name, tmp_path):
    directory = saved(tmp_path, "llama")
    layout = replace(LLAMA, model_type="mine", rest=REST)
    known = SETTINGS[name]
    for value in (None, *known.neutral):
        written(directory, model_type="mine", **{name: value})
        assert name not in " ".join(locate(directory, layout).notes)
    written(directory, model_type="mine", **{name: 3})
    if known.refused:
        with pytest.raises(
            InputError,
            match=rf"config\.json says {name} 3, which {known.what}: no field of a layout",
        ):
            locate(directory, layout)
    else:
        assert any(
            f"config.json says {name} 3, which {known.what}" in note
            for note in locate(directory, layout).notes
        )


def test_a_factor_that_nobody_knows_is_named(tmp_path):
    directory = written(
        saved(tmp_path, "llama"),
        model_type="mine",
        value_multiplier=0.5,
        rope_scaling={"factor": 2.0},
    )
    notes = locate(directory, replace(LLAMA, model_type="mine", rest=REST)).notes
    assert (
        notes[-1]
        == "config.json says value_multiplier 0.5, which is not known here; it is not computed with"
    )
    assert not any("rope" in note for note in notes)


def test_a_block_without_any_norm_has_none_and_is_read(tmp_path):
    """As in docs/lens-layouts.md: a missing norm is gain 1 where nothing looks like one."""
    rng = np.random.default_rng(0)
    names = [f"stack.{layer}.mix.{part}.weight" for layer in range(2) for part in ("v", "o")]
    save_file(
        {name: rng.standard_normal((8, 8)).astype(np.float32) for name in names},
        tmp_path / "model.safetensors",
    )
    config = {
        "model_type": "mine",
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "layer_norm_eps": 1e-5,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    layout = replace(
        GPT2,
        model_type="mine",
        block="stack.{}",
        query="mix.q",
        key="mix.k",
        value="mix.v",
        output="mix.o",
        norm="n",
        transposed=False,
        rows=("head", "dim"),
        heads="num_attention_heads",
        layers="num_hidden_layers",
    )
    stack = locate(tmp_path, layout)
    assert stack.notes == ()
    assert stack.norm(0)[0].tolist() == [1.0] * 8
    assert set(FOREIGN).isdisjoint(CONFIGS)
