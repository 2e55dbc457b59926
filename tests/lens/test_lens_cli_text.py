"""`eigenloop lens` with a text, a looped layer and another checkpoint: the JSON contract, the
files, and bad input.
"""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_models import build
from test_lens_cli import call, parsed
from words import sentences, tokenizer

from eigenloop.lens import survey as module
from eigenloop.lens.text.estimates import STATISTICS

PARTS = ("enrichment_before", "enrichment_after", "ratio", "percentile", "gain_rho", "gain_slope")


def saved(directory: Path, model_type: str = "bert", **options) -> Path:
    build(model_type, **options).save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "text.txt"
    path.write_text("\n".join(sentences(40)))
    return path


@pytest.fixture
def few(monkeypatch):
    """As few draws as have a p-value: the statistics have tests of their own."""
    monkeypatch.setattr(
        module, "alignment", lambda *a, **k: alignment(*a, **k, resamples=99, draws=99)
    )
    from eigenloop.lens import alignment


def test_with_a_text_each_layer_has_its_statistics_with_intervals_and_nulls(
    model, text, few, capsys, tmp_path
):
    out = tmp_path / "out"
    status, printed, err = call(
        capsys, model, "--text", text, "--layers", "0,2", "--out", out, "--json"
    )
    assert status == 0, err
    found = parsed(printed)
    assert [layer["layer"] for layer in found["layers"]] == [0, 2]
    for layer, told in zip(found["layers"], found["alignment"]["layers"], strict=True):
        for name in PARTS:
            assert layer[name] == told[name]
            low, high = layer[name]["interval"]
            assert low <= high
        assert {"random", "other_layers", "random_init"} <= layer["ratio"]["nulls"].keys()
        assert layer["sentence"].startswith(f"Layer {layer['layer']}:")
        assert len(layer["heads"]) == 4
    files = [
        "alignment.csv",
        "eigenvalues.csv",
        "querykey.csv",
        "reading.csv",
        "report.html",
        "spectra.csv",
    ]
    assert sorted(path.name for path in out.iterdir()) == [".lock", *files]
    assert sorted(Path(path).name for path in found["files"].values()) == files
    with (out / "alignment.csv").open() as file:
        rows = list(csv.DictReader(file))
    ratio = next(
        row for row in rows if (row["layer"], row["head"], row["statistic"]) == ("2", "", "ratio")
    )
    assert float(ratio["value"]) == found["layers"][1]["ratio"]["value"]
    html = (out / "report.html").read_text()
    for words in (
        "Do tokens follow?",
        "The tokens that directions point at",
        'href="alignment.csv"',
    ):
        assert words in html
    command = f"eigenloop lens {model} --text {text} --layers 0,2 --out {out}"
    assert "".join(f"<span>{word}</span> " for word in command.split()).strip() in html


def test_a_text_gives_the_rule_layernorm_its_sigma(text, few, capsys, tmp_path):
    """One sigma in a layer, that of the text: the leader's growth is |1 + lambda / sigma| in
    spectrum and alignment.
    """
    gpt2 = saved(tmp_path / "gpt2", "gpt2")
    for rule in ("layernorm", None):
        status, printed, err = call(
            capsys, gpt2, "--text", text, "--json", *(("--rule", rule) if rule else ())
        )
        assert status == 0, err
        found = parsed(printed)
        for layer, told in zip(found["layers"], found["alignment"]["layers"], strict=True):
            mode = layer["rules"]["layernorm"]
            assert layer["sigma"] == told["sigma"] != 1
            assert mode["growth"] == pytest.approx(
                abs(1 + complex(*mode["eigenvalue"]) / layer["sigma"]), rel=1e-12
            )
            if rule:
                assert mode["eigenvalue"] == pytest.approx(told["eigenvalue"], rel=1e-9, abs=1e-12)
        assert any("by layer for the tokens' scale sigma" in note for note in found["notes"])


def test_shared_weights_have_an_entry_for_each_application(text, few, capsys, tmp_path):
    albert = saved(
        tmp_path / "albert", "albert", num_hidden_layers=4, num_hidden_groups=1, inner_group_num=1
    )
    status, printed, err = call(capsys, albert, "--text", text, "--json")
    assert status == 0, err
    (layer,) = parsed(printed)["layers"]
    assert [each["layer"] for each in layer["applications"]] == [0, 1, 2, 3]
    assert all(set(STATISTICS) <= each.keys() for each in layer["applications"])


def test_a_layer_is_looped_on_the_text_or_on_the_packaged_one(model, text, capsys, tmp_path):
    out = tmp_path / "out"
    status, printed, err = call(capsys, model, "--loop", 1, "--loops", 6, "--out", out, "--json")
    assert status == 0, err
    found = parsed(printed)
    assert (found["loops"]["layer"], found["loops"]["loops"]) == (1, 6)
    assert any("the text that the package brings along" in note for note in found["notes"])
    assert "alignment" not in found
    assert len((out / "loops.csv").read_text().splitlines()) == 8
    html = (out / "report.html").read_text()
    assert "Layer 1, looped" in html
    assert "<span>--loops</span> <span>6</span>" in html


def test_two_checkpoints_are_compared(model, capsys, tmp_path):
    other = saved(tmp_path / "other", seed=1)
    status, printed, err = call(
        capsys, model, "--compare", other, "--out", tmp_path / "out", "--json"
    )
    assert status == 0, err
    found = parsed(printed)["comparison"]
    assert (found["a"], found["b"]) == (str(model), str(other))
    assert "Beside another checkpoint" in (tmp_path / "out" / "report.html").read_text()
    status, printed, _ = call(capsys, model, "--compare", model, "--json")
    angles = [each["angles"][-1] for each in parsed(printed)["comparison"]["layers"]]
    np.testing.assert_allclose(angles, 0, atol=1e-5)


def test_half_precision_is_converted_once_and_said(model, text, few, capsys, tmp_path):
    half = tmp_path / "half"
    build("bert").half().save_pretrained(half)
    tokenizer().save_pretrained(half)
    status, printed, err = call(capsys, half, "--text", text, "--json")
    assert status == 0, err
    assert any(
        "float16 and were converted to float32 once" in note for note in parsed(printed)["notes"]
    )


def test_a_text_longer_than_the_context_is_split_and_said(model, few, capsys, tmp_path):
    text = tmp_path / "long.txt"
    text.write_text("\n".join(" ".join(f"w{5 + i % 40}" for i in range(70)) for _ in range(3)))
    status, printed, err = call(capsys, model, "--text", text, "--json")
    assert status == 0, err
    notes = parsed(printed)["alignment"]["notes"]
    assert "3 of 3 passages are longer than the context of 32 tokens and were split" in notes


def test_a_summary_for_people_says_what_the_text_shows(model, text, few, capsys):
    status, printed, _ = call(capsys, model, "--text", text, "--rule", "modulus")
    assert status == 0
    for words in (
        "rule modulus",
        "Layer 2: ",
        "rank correlation",
        "directions are nearer to some token",
    ):
        assert words in printed


def test_bad_input_of_every_kind_is_one_line_and_nothing_is_written(
    model, text, capsys, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out, empty, nothing = tmp_path / "out", tmp_path / "empty.txt", tmp_path / "nothing"
    empty.write_text(" \n")
    nothing.mkdir()
    (nothing / "config.json").write_text('{"model_type": "bert"}')
    malformed, cut, mute = (saved(tmp_path / name) for name in ("malformed", "cut", "mute"))
    (malformed / "model.safetensors").write_bytes(b"\x08" + b"\0" * 7 + b"{broken}")
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:-9])
    for file in mute.glob("token*"):
        file.unlink()
    damaged = saved(tmp_path / "nan")
    weights = load_file(damaged / "model.safetensors")
    value = next(name for name in weights if name.endswith("layer.1.attention.self.value.weight"))
    weights[value][0, 0] = np.nan
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    small = saved(tmp_path / "small", num_hidden_layers=2)
    t5 = tmp_path / "t5"
    t5.mkdir()
    (t5 / "config.json").write_text('{"model_type": "t5"}')
    save_file({"x": np.zeros(1, np.float32)}, t5 / "model.safetensors")
    with_text = ("--text", text)
    for arguments, message in (
        (("/no/such/model",), "does not exist"),
        (("someone/there-is-no-such-model", *with_text), "nothing from the hub"),
        ((nothing, *with_text), "has no weights; it needs model.safetensors"),
        ((cut, *with_text), "is truncated"),
        ((malformed, *with_text), "has no readable safetensors header"),
        ((damaged,), f"{value} holds 1 number(s) that are NaN or infinite"),
        ((damaged, *with_text), f"{value} holds 1 number(s) that are NaN or infinite"),
        ((t5, *with_text), "has an encoder and a decoder, which is not supported"),
        ((model, "--text", empty), "is empty; give a text"),
        ((model, "--text", tmp_path / "absent.txt"), "does not exist; give a UTF-8 text file"),
        ((mute, *with_text), "tokenizer"),
        ((model, *with_text, "--layers", "7"), "--layers has 7; this model has the layers 0 to 2"),
        (
            (model, *with_text, "--weights-only"),
            "--weights-only runs no model, and --text needs it to run",
        ),
        (
            (model, "--loop", "0", "--weights-only"),
            "--weights-only runs no model, and --loop needs it to run",
        ),
        ((model, "--loops", "5"), "--loops is 5, but no layer is looped"),
        ((model, "--loop", "0", "--loops", "0"), "--loops is 0; at least 1 is needed"),
        ((model, "--loop", "3"), "--loop is 3; this model has the layers 0 to 2"),
        ((model, "--loop", "x"), "Input should be a valid integer"),
        ((model, *with_text, "--device", "abacus"), "there is no device 'abacus' here"),
        ((model, "--compare", small), "differ: layers 3 and 2; compare two checkpoints"),
        ((model, "--compare", tmp_path / "absent"), "does not exist"),
        ((model, "--text", ""), "--text is empty; give it a value"),
    ):
        status, stdout, err = call(capsys, *arguments, "--out", out, "--json")
        last = err.splitlines()[-1]
        assert (status, stdout) == (2, ""), (message, err)
        assert last.startswith("error: "), message
        assert message in last
        assert not out.exists(), message


def test_ctrl_c_leaves_nothing_behind(model, text, tmp_path):
    """Pressed when the first progress is seen."""
    # even where a shell ignores it
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; from eigenloop.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        code,
        "lens",
        model,
        "--text",
        text,
        "--loop",
        "0",
        "--loops",
        "1000000",
    ]
    command += ["--out", tmp_path / "out"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen = process.stderr.readline()
        while seen and ": " not in seen:  # "starting" comes before
            seen = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        rest = process.stderr.read()
        status = process.wait(timeout=60)
    assert ": " in seen
    assert (status, rest.splitlines()[-1]) == (130, "error: interrupted")
    assert time.monotonic() - began < 30
    assert not (tmp_path / "out").exists()
