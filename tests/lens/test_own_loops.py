"""Models of transformers that loop by themselves: their own loop is the map, and what is no map is
refused.

Every map is compared with the model's own run: so many steps from its start give the states that
the model gives.
"""

import json
from functools import cache

import numpy as np
import pytest
from words import tokenizer

from eigenloop import lens
from eigenloop.cli import main
from eigenloop.lens.model.pretrained import quiet
from eigenloop.loops import diagnose
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")
transformers = pytest.importorskip("transformers", reason="transformers is missing")

IDS = list(range(2, 9))
ATOM = {
    "hidden_size": 16,
    "output_dim": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "head_dim": 16,
    "intermediate_size": 16,
    "num_spatial_rope_pairs_per_axis": 1,
    "num_uid_rope_pairs": 2,
}
CONFIGS = {
    "hrm_text": {
        "vocab_size": 50,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
        "H_cycles": 3,
        "L_cycles": 2,
        "max_position_embeddings": 32,
    },
    "perceiver": {
        "vocab_size": 50,
        "num_latents": 4,
        "d_latents": 16,
        "d_model": 16,
        "num_blocks": 3,
        "num_self_attends_per_block": 2,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 2,
        "max_position_embeddings": 32,
    },
    "funnel": {
        "vocab_size": 50,
        "block_sizes": [1, 2],
        "block_repeats": [1, 3],
        "d_model": 16,
        "n_head": 2,
        "d_head": 8,
        "d_inner": 24,
        "num_decoder_layers": 1,
    },
    "esmfold2": {
        "hidden_size": 8,
        "pairwise_hidden_size": 8,
        "single_inputs_size": 8 + 67,
        "pair_transition_intermediate_size": 16,
        "folding_trunk_num_hidden_layers": 1,
        "parcae_num_coda_layers": 1,
        "atom_encoder": ATOM,
        "structure_head": {
            "num_distogram_bins": 8,
            "diffusion_module": {
                "hidden_size": 8,
                "fourier_dim": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "head_dim": 4,
                "intermediate_size": 16,
                "pair_intermediate_size": 16,
                "atom_encoder": ATOM,
            },
        },
        "confidence_head": {"num_hidden_layers": 1},
        "msa_encoder": {
            "hidden_size": 8,
            "outer_hidden_size": 4,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "head_dim": 4,
            "intermediate_size": 16,
        },
        "lm_encoder": {"num_hidden_layers": 1},
        "esmc_config": {
            "model_type": "esmc",
            "hidden_size": 8,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "head_dim": 4,
        },
    },
}
CLASSES = {
    "hrm_text": "HrmTextForCausalLM",
    "perceiver": "PerceiverForMaskedLM",
    "funnel": "FunnelModel",
    "esmfold2": "EsmFold2Model",
}


def build(kind, **changes):
    """A model that no test changes, made once; see `made`."""
    return made(kind, json.dumps(changes))


@cache
def made(kind, changes):
    """A model whose weights, biases and gains are all random; esmfold2 as it is made, because its
    LN stays in float32.
    """
    found = getattr(transformers, CLASSES[kind], None)
    if found is None:
        pytest.skip(f"transformers {transformers.__version__} has no {CLASSES[kind]}")
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = found(
            transformers.AutoConfig.for_model(kind, **{**CONFIGS[kind], **json.loads(changes)})
        ).eval()
    if kind == "esmfold2":
        return model
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * (0.3 if parameter.ndim > 1 else 0.5) + (parameter.ndim == 1))
    return model.double()


def steps(looped, count):
    x = looped.start
    for _ in range(count):
        x = looped.step(x)
    return x.reshape(looped.shape)


def consistent(looped, slack):
    """Products in both directions are of one matrix."""
    u, v = np.random.default_rng(0).standard_normal((2, looped.size))
    linear = looped.at(looped.start)
    assert u @ linear.forward(v) == pytest.approx(linear.reverse(u) @ v, rel=slack, abs=slack)


def test_hrms_h_cycle():
    model = build("hrm_text")
    looped, notes = lens.looped_map(model, IDS)
    assert looped.shape == (2, len(IDS), 16)
    with torch.no_grad():
        wanted = model.model(input_ids=torch.tensor(IDS)[None], use_cache=False).last_hidden_state
    np.testing.assert_allclose(steps(looped, 3)[0], wanted[0].numpy(), atol=1e-5)
    assert "after 3" in notes[-1]
    assert looped.noise > 1e-12  # its RMS norm computes in float32
    assert any("float64" in note for note in looped.notes)
    consistent(looped, 1e-2)


def test_perceivers_block():
    model = build("perceiver")
    looped, _ = lens.looped_map(model, IDS)
    with torch.no_grad():
        wanted = model.perceiver(torch.tensor(IDS)[None]).last_hidden_state
    np.testing.assert_allclose(steps(looped, 3), wanted[0].numpy(), atol=1e-10)
    consistent(looped, 1e-9)
    with pytest.raises(InputError, match="applies its block once"):
        lens.looped_map(build("perceiver", num_blocks=1), IDS)


@pytest.mark.parametrize("pooled_keys", [True, False])
def test_funnels_layer_after_its_pooling(pooled_keys):
    """Layer 1 pools in its first application and is repeated on what it gave; layer 2 does not
    pool.
    """
    model = build("funnel", pool_q_only=pooled_keys)
    ids = torch.tensor(IDS)[None]
    with torch.no_grad():
        states = model.encoder(
            model.embeddings(ids),
            attention_mask=torch.ones_like(ids),
            token_type_ids=torch.zeros_like(ids),
            output_hidden_states=True,
        ).hidden_states  # embedding, layer 0, layer 1 three times, layer 2 three times
    first, _ = lens.looped_map(model, IDS, layer=1)
    second, notes = lens.looped_map(model, IDS, layer=2)
    assert first.shape == second.shape == (4, 16)  # of 7 tokens
    made = 2 if pooled_keys else 3
    np.testing.assert_allclose(steps(first, made), states[4][0].numpy(), atol=1e-6)
    np.testing.assert_allclose(steps(second, 0), states[4][0].numpy(), atol=1e-6)
    np.testing.assert_allclose(steps(second, 3), states[7][0].numpy(), atol=1e-6)
    assert "makes 3" in notes[-1]
    consistent(second, 1e-6)


def test_funnels_layers_are_told_apart():
    model = build("funnel")
    with pytest.raises(InputError, match=r"2 layers.*--layer: 1, 2"):
        lens.looped_map(model, IDS)
    with pytest.raises(InputError, match=r"layer 0 once.*--layer: 1, 2"):
        lens.looped_map(model, IDS, layer=0)
    with pytest.raises(InputError, match=r"no such layer.*--layer: 1, 2"):
        lens.looped_map(model, IDS, layer=9)
    one = build("funnel", block_sizes=[1, 1])
    assert lens.looped_map(one, IDS)[0].name.endswith("layer 1, repeated")
    with pytest.raises(InputError, match="all 1"):
        lens.looped_map(build("funnel", block_repeats=[1, 1]), IDS)


def test_esmfold2s_trunk(monkeypatch):
    """The states before the projection of the model's own run, with its dropout off and its start
    drawn alike.
    """
    model = build("esmfold2")
    looped, notes = lens.looped_map(model, "> a peptide\nACD\nEF\n")
    assert looped.shape == (5, 5, 8)
    assert model.config.lm_encoder.lm_dropout == 0.25  # put back
    assert any("dropout" in note for note in notes)
    inputs = transformers.models.esmfold2
    features = inputs.protein_utils.prepare_protein_features("ACDEF")
    kind = inputs.modeling_esmfold2.EsmFold2AtomInputs
    atoms = kind(**{name: features.pop(name) for name in kind.__dataclass_fields__})
    features.pop("distogram_atom_idx")
    seen = []
    monkeypatch.setattr(model.config.lm_encoder, "lm_dropout", 0.0)
    handle = model.parcae.out_proj.register_forward_pre_hook(
        lambda module, given: seen.append(given[0])
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model(**features, atom_inputs=atoms, num_loops=2)
    handle.remove()
    np.testing.assert_allclose(steps(looped, 3), seen[0][0].numpy(), atol=1e-5)
    consistent(looped, 1e-3)
    assert diagnose(looped, loops=16, norms=False).verdict.word == "contracts"


@pytest.mark.parametrize(
    ("text", "message"),
    [("AC1", "'1', which is no amino acid"), ("A", "fewer than two"), ([1, 2], "not token ids")],
)
def test_what_is_no_protein_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        lens.looped_map(build("esmfold2"), text)


@pytest.mark.parametrize("kind", ["hrm_text", "perceiver", "esmfold2"])
def test_one_map_has_no_layers(kind):
    with pytest.raises(InputError, match="leave --layer out"):
        lens.looped_map(build(kind), "ACD" if kind == "esmfold2" else IDS, layer=0)


def test_a_perceiver_of_images_is_refused():
    model = build("perceiver")
    bare = transformers.PerceiverModel(model.config)
    with pytest.raises(InputError, match="reads text"):
        lens.looped_map(bare, IDS)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "esm", "is_folding_model": True}, "piecewise constant"),
        ({"model_type": "esm", "architectures": ["EsmForProteinFolding"]}, "piecewise constant"),
        ({"model_type": "zamba2"}, "not one map"),
    ],
)
def test_what_repeats_and_is_no_loop_is_refused_in_one_line(config, message, tmp_path, capsys):
    from safetensors.numpy import save_file

    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "text.txt").write_text("w1 w2 w3")
    save_file({"weight": np.zeros(1, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(SystemExit) as stop:
        main(["loops", str(tmp_path), "--text", str(tmp_path / "text.txt")])
    said = capsys.readouterr()
    assert (stop.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert message in said.err


# hrm_text's loop does not settle, so that its exponents are measured: over few loops here
@pytest.mark.parametrize("kind", ["hrm_text", "perceiver"])
def test_the_command_line_on_a_saved_model(kind, tmp_path, capsys):
    build(kind).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    (tmp_path / "text.txt").write_text("w1 w2 w3")
    capsys.readouterr()
    words = ["loops", str(tmp_path), "--text", str(tmp_path / "text.txt"), "--loops", "4"]
    words += ["--exponents", "1,20", "--json"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code
    document = json.loads(capsys.readouterr().out)
    assert document["map"].endswith("its own loop")
    assert document["verdict"]


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    build("perceiver").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(sorted(weights)[0])
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="incomplete"):
        lens.looped_map(str(tmp_path), IDS)
