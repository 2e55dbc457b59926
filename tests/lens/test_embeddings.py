"""Rows of the embeddings are what the loaded model computes with, for every text layout, tied
and untied.
"""

import subprocess
import sys

import numpy as np
import pytest
from small_models import CONFIGS, SMALL, build

from eigenloop import lens
from eigenloop.lens.model import embeddings
from eigenloop.lens.model.embeddings import input_embedding, output_embedding
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is missing: pip install '.[lens]'"
)

MASKED = ("bert", "roberta", "albert", "distilbert")
TEXT = [kind for kind in CONFIGS if kind != "vit"]
NARROW = {"opt": {"word_embed_proj_dim": 16}}
"""OPT's embedding is narrower than its stream in one of its sizes."""


def with_head(kind: str, *, tied: bool, seed: int = 0):
    """A model with its head in float64, weights random, and without the activation in a head for
    masked tokens.
    """
    config = transformers.AutoConfig.for_model(
        kind, **{**CONFIGS[kind], **NARROW.get(kind, {})}, tie_word_embeddings=tied
    )
    auto = (
        transformers.AutoModelForMaskedLM if kind in MASKED else transformers.AutoModelForCausalLM
    )
    model = auto.from_config(config, attn_implementation="eager").eval().double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator) * 0.5 + (parameter.ndim == 1)
            )
    return model


def modules_to_logits(model, kind: str):
    """The model's own modules to the logits: (final norm, linear map, LN after it, output
    embedding).
    """
    match kind:
        case "gpt2" | "gpt_neo":
            return model.transformer.ln_f, None, None, model.lm_head
        case "gpt_neox":
            return model.gpt_neox.final_layer_norm, None, None, model.get_output_embeddings()
        case "bert":
            head = model.cls.predictions
            return None, head.transform.dense, head.transform.LayerNorm, head.decoder
        case "roberta":
            return None, model.lm_head.dense, model.lm_head.layer_norm, model.lm_head.decoder
        case "albert":
            return (
                None,
                model.predictions.dense,
                model.predictions.LayerNorm,
                model.predictions.decoder,
            )
        case "distilbert":
            return None, model.vocab_transform, model.vocab_layer_norm, model.vocab_projector
        case "opt":
            return (
                model.model.decoder.final_layer_norm,
                model.model.decoder.project_out,
                None,
                model.lm_head,
            )
        case _:
            return model.model.norm, None, None, model.lm_head


def scale(module, x: np.ndarray) -> np.ndarray:
    """Sigma of each row."""
    if "RMS" in type(module).__name__:
        return np.sqrt(
            (x**2).mean(-1, keepdims=True)
            + getattr(module, "variance_epsilon", getattr(module, "eps", 0))
        )
    return np.sqrt(x.var(-1, keepdims=True) + module.eps)


def all_rows(embedding) -> np.ndarray:
    return np.concatenate([rows for _, rows in embedding.blocks()])


@pytest.mark.parametrize("source", ["model", "files"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", TEXT)
def test_output_rows_give_the_differences_of_the_models_own_logits(kind, tied, source, tmp_path):
    """Two states x, y: logits(x) - logits(y) = R (x - y) without norms and R (x/sigma -
    y/sigma') with them.
    """
    model = with_head(kind, tied=tied)
    final, dense, after, unembed = modules_to_logits(model, kind)
    assert model.get_output_embeddings() is unembed
    if source == "files":
        model.save_pretrained(tmp_path)
    stack = lens.locate(tmp_path if source == "files" else model)
    states = (
        torch.randn(2, stack.width, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        + 0.5
    )
    for norm in (False, True):
        rows, weights, h = all_rows(output_embedding(stack, norm=norm)), np.ones((2, 1)), states
        with torch.no_grad():
            if norm and final is not None:
                weights = weights / scale(final, h.numpy())
                h = final(h)
            if dense is not None:
                h = dense(h)
            if norm and after is not None:
                # the bias of the dense map goes through the LN, so differences are taken before it
                assert dense is not None
                h = h - dense.bias
                weights = weights / scale(after, h.numpy())
                h = after(h)
            logits = unembed(h).numpy()
        expected = logits[0] - logits[1]
        found = rows @ (states.numpy() * weights).T @ [1.0, -1.0]
        # RMSNorm in transformers computes in float32
        tolerance = 1e-5 if "RMS" in type(final).__name__ else 1e-10
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("kind", TEXT)
def test_input_rows_are_what_tokens_bring_into_the_stream(kind):
    model = with_head(kind, tied=True)
    base, ids = model.base_model, torch.arange(50)
    with torch.no_grad():
        # without Gemma's factor, see the next test
        expected = model.get_input_embeddings().weight[ids]
        if kind == "albert":
            mapping = base.encoder.embedding_hidden_mapping_in
            expected = mapping(expected) - mapping.bias
        if kind == "opt":
            expected = base.decoder.project_in(expected)
    np.testing.assert_allclose(
        all_rows(input_embedding(lens.locate(model))), expected.numpy(), rtol=0, atol=1e-12
    )


def test_gemmas_factor_changes_no_direction():
    model = with_head("gemma", tied=True)
    seen = []
    hook = model.model.layers[0].register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0])
    )
    with torch.no_grad():
        model(input_ids=torch.arange(2, 12)[None])
    hook.remove()
    rows = input_embedding(lens.locate(model)).rows(2, 12)
    # its factor is rounded to bfloat16
    np.testing.assert_allclose(seen[0][0].numpy() / rows, np.sqrt(32), rtol=1e-3)


@pytest.mark.parametrize("kind", ["gpt2", "albert", "opt"])
def test_a_trunk_without_a_head_reads_through_its_input(kind):
    stack = lens.locate(build(kind, **NARROW.get(kind, {})))
    out, into = output_embedding(stack), input_embedding(stack)
    if kind == "opt":  # project_out belongs to the trunk
        assert len(out.notes) == 1
    else:
        np.testing.assert_array_equal(out.rows(0, 50), into.rows(0, 50))
    assert out.notes[0].startswith(
        "the weights hold no output embedding; the input embedding stands for it"
    )
    assert any("the input's projection stands for it" in note for note in out.notes) == (
        kind == "albert"
    )


def test_an_untied_model_saved_without_its_head_says_so(tmp_path):
    with_head("llama", tied=False).model.save_pretrained(tmp_path)
    assert (
        "config.json says that the two are not tied"
        in output_embedding(lens.locate(tmp_path)).notes[0]
    )


def test_blocks_cover_the_vocabulary_once(monkeypatch):
    stack = lens.locate(build("gpt2"))
    whole = input_embedding(stack).rows(0, 50)
    monkeypatch.setattr(embeddings, "BLOCK", 7 * 8 * 32 + 5)
    pieces = list(input_embedding(stack).blocks())
    assert [first for first, _ in pieces] == list(range(0, 50, 7))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in pieces]), whole)


def test_a_model_of_images_has_no_tokens():
    with pytest.raises(
        InputError, match=r"ViTModel \(vit\) has no vocabulary: .* only a text model's directions"
    ):
        input_embedding(lens.locate(build("vit")))


def test_an_embedding_that_does_not_fit():
    model = build("gpt2")
    model.wte.weight = torch.nn.Parameter(torch.zeros(50, 30))
    with pytest.raises(
        InputError, match=r"wte\.weight has shape \(50, 30\), which does not lead to a stream of 32"
    ):
        input_embedding(lens.locate(model))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_a_large_vocabulary_is_never_whole_in_memory(tmp_path):
    """128,000 x 1,024 in float32 are 500 MiB; the search for the nearest tokens of 8 planes
    stays under 150.
    """
    from safetensors.numpy import save_file

    model = build("gpt2", n_embd=1024, n_layer=1)
    model.save_pretrained(tmp_path)
    size = 128_000
    rng = np.random.default_rng(0)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    row = rng.standard_normal((1000, 1024), np.float32)
    save_file(
        {**state, "wte.weight": np.tile(row, (size // 1000, 1))}, tmp_path / "model.safetensors"
    )
    code = (
        "import re, pathlib\nimport numpy as np\nfrom eigenloop import lens\nfrom"
        " eigenloop.lens.weights.reading import nearest\nfrom eigenloop.lens.model.embeddings"
        " import input_embedding\npeak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)',"
        " pathlib.Path('/proc/self/status').read_text())[1]) / 1024\nembedding ="
        f" input_embedding(lens.locate({str(tmp_path)!r}))\nplanes = [np.eye(1024)[:, i : i + 1]"
        " for i in range(8)]\nbare = peak()\nfound = nearest(embedding, planes, top=3)\nassert"
        " found[0].tokens[0] % 1000 == found[0].tokens[1] % 1000,"
        " found[0].tokens\nprint(embedding.size, peak() - bare)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    rows, grown = done.stdout.split()
    assert int(rows) == size
    assert float(grown) < 150


def test_every_text_layout_is_tested():
    assert {*TEXT, "vit"} == {row.model_type for row in lens.LAYOUTS}
    assert SMALL["vocab_size"] == 50
