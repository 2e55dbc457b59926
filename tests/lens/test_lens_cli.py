"""`eigenloop lens --weights-only`: its JSON contract, spectra.csv, and one line for what cannot
be read.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import VALUE, write

from eigenloop import __version__, lens
from eigenloop.cli import main
from eigenloop.lens.weights.spectra import Spectra

HEAVY = ("torch", "transformers", "huggingface_hub", "jax", "pandas", "matplotlib")


def call(capsys, *arguments) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    with pytest.raises(SystemExit) as stop:
        main(["lens", *(str(a) for a in arguments)])
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def parsed(text: str) -> dict:
    """The one object on standard output; NaN and Infinity are no JSON."""

    def no_constant(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=no_constant)


@pytest.fixture
def model(tmp_path) -> Path:
    return write(tmp_path / "model")


def test_json_has_each_layer_by_rule_and_its_heads(model, capsys):
    status, out, err = call(capsys, model, "--weights-only", "--json")
    assert status == 0
    assert "layers" in err
    found = parsed(out)
    assert (found["model"], found["model_type"], found["version"]) == (
        str(model),
        "llama",
        __version__,
    )
    assert (found["rule"], found["stored"], found["files"]) == ("consensus", ["float32"], {})
    assert (found["layers"][1]["sigma"], found["norm"], found["schedule"]) == (1.0, "pre", [0, 1])
    assert [layer["layer"] for layer in found["layers"]] == [0, 1]
    exact = lens.spectra(model)
    for layer, expected in zip(found["layers"], exact.layers, strict=True):
        assert layer["rules"].keys() == {"modulus", "consensus", "layernorm"}
        for rule, mode in layer["rules"].items():
            assert complex(*mode["eigenvalue"]) == expected.modes[rule].eigenvalue
            assert mode["growth"] == expected.modes[rule].growth
            assert mode["flag"] in ("positive", "negative", "complex", "zero")
            assert 0 <= mode["gap"] <= 1
            assert mode["residual"] < 1e-12
            assert len(layer["heads_by_rule"][rule]) == 4
        for key in ("eigenvalue", "flag", "gap", "residual"):
            assert layer[key] == layer["rules"]["consensus"][key]
        assert [complex(*value) for value in layer["heads"]] == [
            m.eigenvalue for m in expected.heads["consensus"]
        ]


def test_one_rule_and_some_layers(model, capsys):
    status, out, _ = call(capsys, model, "--rule", "modulus", "--layers", "late", "--json")
    found = parsed(out)
    assert status == 0
    assert found["rule"] == "modulus"
    assert [(layer["layer"], [*layer["rules"]]) for layer in found["layers"]] == [(1, ["modulus"])]


def test_spectra_csv_holds_the_same_numbers(model, capsys, tmp_path):
    status, out, _ = call(capsys, model, "--out", tmp_path / "out", "--json")
    assert status == 0
    names = {"report": "report.html", "spectra": "spectra.csv", "eigenvalues": "eigenvalues.csv"}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        [".lock", *names.values()]
    )
    assert parsed(out)["files"] == {
        kind: str(tmp_path / "out" / name) for kind, name in names.items()
    }
    with (tmp_path / "out" / "spectra.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == Spectra.COLUMNS
    assert len(rows) == 2 * 3 * (1 + 4)
    layer = parsed(out)["layers"][1]
    for row in rows:
        if row["layer"] == "1" and not row["head"]:
            mode = layer["rules"][row["rule"]]
            assert [float(row["eigenvalue_re"]), float(row["eigenvalue_im"])] == mode["eigenvalue"]
            assert (float(row["gap"]), row["flag"], row["operator"]) == (
                mode["gap"],
                mode["flag"],
                mode["operator"],
            )


def test_the_same_command_writes_the_same_bytes(model, capsys, tmp_path):
    for name in ("a", "b"):
        assert call(capsys, model, "--out", tmp_path / name)[0] == 0
    assert (tmp_path / "a" / "spectra.csv").read_bytes() == (
        tmp_path / "b" / "spectra.csv"
    ).read_bytes()


def test_the_summary_counts_flags_and_says_what_was_assumed(model, capsys):
    status, out, _ = call(capsys, model, "--weights-only")
    assert status == 0
    assert "F = W_O W_V of 2 layers; raw weights" in out
    assert "the rule layernorm takes 1 for the tokens' scale sigma" in out
    for line in (
        "rule modulus: F, largest |lambda|",
        "rule consensus: F, largest |1 + lambda|",
        "layers by flag: ",
    ):
        assert line in out


def test_bad_input_is_one_line_and_nothing_is_written(model, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    out = tmp_path / "out"
    bad = np.full((8, 16), np.nan, np.float32)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    cut = write(tmp_path / "cut") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-7])
    for arguments, message in (
        (("/no/such/model",), "does not exist"),
        (("someone/there-is-no-such-model",), "hub"),
        ((tmp_path / "empty",), "has no config.json"),
        ((tmp_path / "file",), "is a file; give a directory with config.json"),
        ((tmp_path / "cut",), "is truncated"),
        ((write(tmp_path / "nan", {VALUE: bad}),), f"{VALUE} holds 128 number(s) that are NaN"),
        (
            (write(tmp_path / "t5", config={"model_type": "t5"}),),
            "has an encoder and a decoder, which is not supported",
        ),
        ((write(tmp_path / "new", config={"model_type": "new"}),), "has no layout here"),
        ((model, "--layers", "2"), "--layers has 2; this model has the layers 0 to 1"),
        ((model, "--layers", "some"), "--layers has 'some'"),
        (
            (model, "--rule", "largest"),
            "'largest' is not one of 'modulus', 'consensus', 'layernorm'",
        ),
    ):
        status, stdout, err = call(capsys, *arguments, "--out", out, "--json")
        last = err.splitlines()[-1]
        assert (status, stdout) == (2, ""), message
        assert last.startswith("error: "), message
        assert message in last
        assert not out.exists(), message
    status, _, err = call(capsys, model, "--out", tmp_path / "file")
    assert (status, err) == (
        2,
        f"error: {tmp_path / 'file'} is a file; --out must be a directory\n",
    )


def test_the_weights_alone_load_neither_torch_nor_transformers_nor_jax(model, tmp_path):
    """The whole command, in a fresh interpreter."""
    code = (
        "import sys, json\n"
        "from eigenloop.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert not stop.code\n"
        f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]), file=sys.stderr)"
    )
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        code,
        "lens",
        model,
        "--weights-only",
        "--out",
        tmp_path / "out",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert (tmp_path / "out" / "spectra.csv").exists()
