"""`eigenloop steer` from the command line to a checkpoint that loads; all bad input is one line,
and writes nothing.
"""

import csv
import json
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from steer_models import saved

from eigenloop import cli
from eigenloop.steer.checkpoint import model_card

transformers = pytest.importorskip(
    "transformers", reason="transformers is missing: pip install '.[lens]'"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in ("gpt2", "bert", "llama", "albert"):
        saved(folder / name, name)
    return folder


def run(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(["steer", *map(str, words)])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_a_whole_run(models, tmp_path, capsys):
    out = tmp_path / "out"
    status, text, _ = run(
        capsys, models / "gpt2", "--toward", " the", "--strength", "0.2", "--out", out, "--json"
    )
    assert status == 0
    found = json.loads(text)
    wanted = {
        "method",
        "layers",
        "head_per_layer",
        "strength",
        "edit_size",
        "signed_cos_before",
        "signed_cos_after",
        "keep",
        "kl",
        "token_rank_before",
        "token_rank_after",
        "activation_addition",
    }
    assert wanted <= found.keys()
    assert found["method"] == "tuned"
    assert found["layers"] == [2]
    assert found["retrieval"] is None  # of a model that goes on with texts
    assert found["similarity"] is None
    assert not (out / "retrieval.csv").exists()
    assert found["signed_cos_after"] > found["signed_cos_before"] + 0.05
    assert found["token_rank_after"] < found["token_rank_before"]
    assert found["activation_addition"]["signed_cos_after"] == pytest.approx(
        found["signed_cos_after"], abs=0.01
    )
    assert all(check["passed"] is not False for check in found["checks"])
    for edit in found["edits"]:
        predicted, measured = (
            edit["spectrum"][key]["eigenvalue"] for key in ("predicted", "measured")
        )
        np.testing.assert_allclose(measured, predicted, rtol=1e-4, atol=1e-4)
    assert json.loads((out / "steer.json").read_text())["strength"] == 0.2
    loaded = transformers.AutoModelForCausalLM.from_pretrained(out)
    assert loaded.config.model_type == "gpt2"
    card = (out / "README.md").read_text()
    assert "eigenloop steer gpt2 " in card
    assert "transformer.h.2.attn.c_proj.weight" in card
    rows = list(csv.DictReader((out / "curves.csv").read_text().splitlines()))
    assert {row["curve"] for row in rows} == {"edit", "activation addition", "random direction"}
    assert len(list(csv.DictReader((out / "prompts.csv").read_text().splitlines()))) == 24 * len(
        rows
    )
    page = (out / "report.html").read_text()
    HTMLParser().feed(page)
    for title in (
        "Effect beside damage",
        "Dose and response",
        "What was edited",
        "Checks on the saved weights",
        "Texts",
    ):
        assert title in page
    status, text, _ = run(
        capsys, models / "gpt2", "--toward", " the", "--strength", "0.1", "--out", out
    )
    assert status == 0  # a directory of ours is replaced
    assert json.loads((out / "steer.json").read_text())["strength"] == 0.1
    assert "report.html" in text


def test_a_checkpoint_loads_where_eigenloop_is_not(models, tmp_path, capsys):
    run(
        capsys,
        models / "bert",
        "--contrast",
        "the king",
        "the queen sat",
        "--method",
        "signed",
        "--out",
        tmp_path / "out",
    )
    code = (
        "import sys; sys.modules['eigenloop'] = None\nfrom transformers import"
        " AutoModelForMaskedLM,"
        f" AutoTokenizer\nAutoModelForMaskedLM.from_pretrained({str(tmp_path / 'out')!r});"
        f" AutoTokenizer.from_pretrained({str(tmp_path / 'out')!r}); print('loaded')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "loaded"


def test_an_adapter_alone(models, tmp_path, capsys):
    words = (
        "--toward",
        " the",
        "--method",
        "signed",
        "--adapter",
        "--out",
        tmp_path / "out",
        "--json",
    )
    status, text, _ = run(capsys, models / "albert", *words)
    assert status == 0
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [
        ".lock",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "curves.csv",
        "edits.csv",
        "prompts.csv",
        "report.html",
        "retrieval.csv",
        "steer.json",
    ]
    checks = json.loads(text)["checks"]
    assert all(check["passed"] is not False for check in checks)
    assert any("shared" in check["check"] for check in checks)


def test_a_strength_is_found(models, tmp_path, capsys):
    words = (models / "gpt2", "--toward", " the", "--json", "--out", tmp_path / "out")
    status, text, _ = run(capsys, *words, "--target", "0.3")
    found = json.loads(text)
    assert status == 0
    assert found["method"] == "tuned"
    assert found["signed_cos_after"] == pytest.approx(0.3, abs=0.06)  # searched on other text
    assert 2 <= len(found["search"]) <= 12
    by_strength = dict(map(tuple, found["search"]))
    # what is written is what was searched
    assert by_strength[found["strength"]] == pytest.approx(0.3, rel=0.01)
    status, text, _ = run(capsys, *words, "--target", "-0.2")
    found = json.loads(text)
    assert status == 0
    assert found["strength"] < 0
    assert found["signed_cos_after"] == pytest.approx(-0.2, abs=0.06)
    status, text, _ = run(capsys, *words, "--method", "signed", "--budget", "0.02")
    found = json.loads(text)
    assert found["kl"] == pytest.approx(0.02, rel=0.5)
    by_strength = dict(map(tuple, found["search"]))
    assert 0.018 < by_strength[found["strength"]] <= 0.02


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A Llama stored in bfloat16, whose spacing is 2^-7."""
    torch = pytest.importorskip("torch")
    return saved(
        tmp_path_factory.mktemp("half") / "llama",
        "llama",
        dtype=torch.bfloat16,
        attention_bias=True,
    )


@pytest.mark.parametrize("strength", [1e-3, 0.3])
def test_the_evidence_is_that_of_the_numbers_that_were_written(half, strength, tmp_path, capsys):
    """Signed cosine of the written checkpoint, run by itself on the same prompts: rounded to
    bfloat16 it is another.
    """
    from eigenloop.lens import load
    from eigenloop.steer import Bench, cut, shipped
    from eigenloop.steer.directions import toward_token

    out = tmp_path / "out"
    words = (
        "--toward",
        " the",
        "--method",
        "signed",
        "--strength",
        strength,
        "--layers",
        "all",
        "--json",
    )
    status, text, err = run(capsys, half, *words, "--out", out)
    if status == 2 and "reads no common mean" in err:
        pytest.skip(err)
    assert status == 0, err
    found = json.loads(text)
    direction = toward_token(load(half), " the")
    written = load(out)
    bench = Bench.of(written, cut(written.tokenizer, shipped()[1], count=24), direction.vector)
    assert found["signed_cos_after"] == pytest.approx(bench.measure()["cosine"].mean(), abs=1e-7)


def test_an_edit_that_only_takes_away_has_no_effect(models, tmp_path, capsys):
    """At a strength of 1e-12 a head still loses its component along u; the direction does
    nothing.
    """
    words = (
        "--toward",
        " the",
        "--method",
        "signed",
        "--strength",
        "1e-12",
        "--layers",
        "all",
        "--json",
    )
    status, text, _ = run(capsys, models / "bert", *words, "--out", tmp_path / "out")
    found = json.loads(text)
    assert status == 0
    assert abs(found["signed_cos_after"] - found["signed_cos_before"]) > 1e-5
    effect = next(check for check in found["checks"] if "effect" in check["check"])
    assert effect["passed"] is False


def test_strength_zero_is_reported_as_no_effect(models, tmp_path, capsys):
    status, text, _ = run(
        capsys,
        models / "gpt2",
        "--toward",
        " the",
        "--strength",
        "0",
        "--out",
        tmp_path / "out",
        "--json",
    )
    assert status == 0
    found = json.loads(text)
    assert found["signed_cos_after"] == found["signed_cos_before"]
    assert any(check["passed"] is False and "effect" in check["check"] for check in found["checks"])
    weights = [
        (models / "gpt2" / "model.safetensors").read_bytes(),
        (tmp_path / "out" / "model.safetensors").read_bytes(),
    ]
    assert weights[0] == weights[1]


BAD = {
    "one of --toward, --direction and --contrast says where to steer; none": (),
    "--toward and --direction was given": ("--toward", "a", "--direction", "x.npy"),
    "--strength and --target exclude one another": (
        "--toward",
        "a",
        "--strength",
        "0.1",
        "--target",
        "0.3",
    ),
    "--method hope does not exist": ("--toward", "a", "--method", "hope"),
    "--target is 3; it must be between": ("--toward", "a", "--target", "3"),
    "--strength is nan": ("--toward", "a", "--strength", "nan"),
    "for --method swap it is from 0 to 1": (
        "--toward",
        "a",
        "--method",
        "swap",
        "--strength",
        "1.5",
    ),
    "tokens (": ("--toward", " unquestionably"),
    "cannot read missing.npy": ("--direction", "missing.npy"),
    "--layers has '7'": ("--toward", " the", "--layers", "7-"),
    "this model has the layers 0 to 2": ("--toward", " the", "--layers", "5"),
    "cannot read missing.txt": ("--toward", " the", "--calibrate", "missing.txt"),
    "there is no device": ("--toward", " the", "--device", "abacus"),
    "without any edit the model has": ("--toward", " the", "--target", "-0.9", "--method", "swap"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_one_line_and_writes_nothing(models, tmp_path, capsys, monkeypatch, message):
    monkeypatch.chdir(tmp_path)
    status, text, error = run(capsys, models / "gpt2", *BAD[message], "--out", "out")
    assert status == 2, error
    assert text == ""
    lines = [line for line in error.splitlines() if not line.startswith("runs:")]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message.split("'")[0] in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_other_refusals(models, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").touch()
    text = tmp_path / "text.txt"
    text.write_text(
        "Alice was beginning to get very tired of sitting by her sister on the bank " * 60
    )
    cases = [
        (
            (models / "gpt2", "--toward", " the", "--out", tmp_path / "mine"),
            "was not written by eigenloop steer",
        ),
        ((models / "gpt2", "--toward", " the", "--out", models / "gpt2"), "is the model itself"),
        (
            (
                models / "gpt2",
                "--toward",
                " the",
                "--out",
                tmp_path / "o",
                "--calibrate",
                text,
                "--evaluate",
                text,
            ),
            "share",
        ),
        ((tmp_path / "none", "--toward", " the", "--out", tmp_path / "o"), "does not exist"),
        (
            (models / "llama", "--toward", " the", "--method", "bias", "--out", tmp_path / "o"),
            "no output bias",
        ),
    ]
    for words, message in cases:
        status, _, error = run(capsys, *words)
        assert status == 2
        assert message in error
        assert not (tmp_path / "o").exists()
    assert [f.name for f in (tmp_path / "mine").iterdir()] == ["a"]


# --- one set of weights is read, edited, written and measured


def test_a_failed_check_refuses_and_leaves_nothing(models, tmp_path, capsys, monkeypatch):
    """Where other numbers are written than were measured, by whatever fault."""
    from eigenloop.steer import checkpoint

    right = checkpoint.rounded
    monkeypatch.setattr(checkpoint, "rounded", lambda values, kind: right(2 * values, kind))
    out = tmp_path / "out"
    status, _, err = run(
        capsys, models / "gpt2", "--toward", " the", "--strength", "0.2", "--out", out
    )
    assert status == 2
    assert err.splitlines()[-1].startswith("error: the steered weights are not what was intended")
    assert "nothing was written" in err
    assert list(tmp_path.iterdir()) == []


def test_the_evidence_is_what_the_written_file_does(models, tmp_path, capsys):
    out = tmp_path / "out"
    status, text, _ = run(
        capsys, models / "gpt2", "--toward", " the", "--strength", "0.2", "--out", out, "--json"
    )
    assert status == 0
    checks = {check["check"]: check["passed"] for check in json.loads(text)["checks"]}
    assert checks["the written checkpoint, loaded again, does what was measured"] is True


def test_stale_shards_beside_the_model_are_neither_edited_nor_copied(models, tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(models / "gpt2", source)
    gone = {"weight_map": {"transformer.wte.weight": "model-00001-of-00002.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(gone))
    command = (source, "--toward", " the", "--strength", "0.2", "--out", out)
    assert run(capsys, *command)[0] == 0
    assert [file.name for file in out.glob("model*")] == ["model.safetensors"]
    shutil.rmtree(out)
    shutil.copy(source / "model.safetensors", source / "model-00001-of-00002.safetensors")
    status, _, err = run(capsys, *command)
    assert status == 2
    assert "two sets of weights" in err
    assert not out.exists()


def test_the_card_names_no_path_of_this_machine(models, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        run(capsys, models / "gpt2", "--toward", " the", "--strength", "0.2", "--out", out)[0] == 0
    )
    card = (out / "README.md").read_text()
    assert str(tmp_path) not in card
    assert str(models) not in card
    assert "base_model" not in card
    assert "# gpt2, steered towards" in card


def test_a_name_on_the_hub_is_the_cards_base_model():
    about = {
        "edits": [],
        "tensors": [],
        "adapter": False,
        "direction": "x",
        "method": "tuned",
        "strength": 0.1,
        "direction_source": "",
        "signed_cos_before": None,
        "signed_cos_after": None,
        "version": "0",
    }
    assert 'base_model: "acme/small"\n' in model_card(
        about, "acme/small", "eigenloop steer acme/small"
    )
    for local in ("./acme", "/models/acme", "~/acme", "a/b/c"):
        card = model_card(about, local, f"eigenloop steer {local} --out /home/me/out")
        assert "base_model" not in card
        assert "/home" not in card
