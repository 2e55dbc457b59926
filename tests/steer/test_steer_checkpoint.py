"""Checkpoints load with plain from_pretrained, differ where they should, are never half-written;
adapters likewise.
"""

import errno
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from steer_models import saved, speaking, unit, white

from eigenloop.lens import circuits
from eigenloop.lens.model.checkpoint import Weights, open_weights
from eigenloop.lens.model.loaded import load
from eigenloop.lens.model.stack import locate
from eigenloop.steer import Site, applied, save_adapter, save_checkpoint, signed, swap_heads
from eigenloop.steer.adapter import LARGEST_RANK, adapter, factors
from eigenloop.steer.checkpoint import output_directory, write_directory
from eigenloop.steer.checks import Overlaid, check_effect, check_saved, intended_error
from eigenloop.steer.steering import _merged
from eigenloop.steer.writing import has_bias, rounded
from eigenloop.system.directories import LOCK, STAGED
from eigenloop.system.errors import InputError

torch = pytest.importorskip("torch", reason="torch is missing: pip install '.[lens]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is missing: pip install '.[lens]'"
)


def edit_of(stack, layer: int = 1, method=signed, strength: float = 0.3):
    circuit = circuits(stack, layer)
    output, value = has_bias(stack, layer)
    where = Site(circuit=circuit, reading=white(circuit), output_bias=output, value_bias=value)
    return method(where, unit(circuit.width), strength=strength)


def raw(file: Path) -> dict[str, bytes]:
    with safe_open(file, framework="pt") as opened:
        names = list(opened.keys())
        return {name: opened.get_tensor(name).view(torch.uint8).numpy().tobytes() for name in names}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("model_type", ["gpt2", "bert", "llama"])
def test_a_steered_checkpoint_loads_and_only_edited_tensors_differ(tmp_path, model_type, dtype):
    source = saved(tmp_path / "source", model_type, dtype=getattr(torch, dtype))
    target = tmp_path / "target"
    target.mkdir()
    edit = edit_of(locate(open_weights(source)))
    kinds = save_checkpoint(source, target, [edit])
    old, new = raw(source / "model.safetensors"), raw(target / "model.safetensors")
    assert old.keys() == new.keys()
    assert {name for name in old if old[name] != new[name]} == kinds.keys()
    assert set(kinds.values()) == {dtype}
    checks = check_saved(
        locate(open_weights(source)), locate(open_weights(target)), [edit], kinds, dtype
    )
    assert not [check for check in checks if check.passed is False]
    kind = (
        transformers.AutoModelForMaskedLM
        if model_type == "bert"
        else transformers.AutoModelForCausalLM
    )
    loaded = kind.from_pretrained(target, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.arange(5, 15)[None]
    model = load(str(source))
    with applied(model, [edit]), torch.no_grad():
        expected = model.module(ids).logits
    with torch.no_grad():
        found = loaded(ids).logits
    # a few spacings, in three layers
    bound = {"float32": 1e-5, "float16": 2e-2, "bfloat16": 2e-1}[dtype]
    assert float((found - expected).abs().max() / expected.abs().max()) < bound
    assert len(transformers.AutoTokenizer.from_pretrained(target)) == 300


def test_shards_are_kept(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    target.mkdir()
    speaking("gpt2").save_pretrained(source, max_shard_size="20KB")
    assert len(list(source.glob("*.safetensors"))) > 2
    edit = edit_of(locate(open_weights(source)))
    kinds = save_checkpoint(source, target, [edit])
    assert sorted(f.name for f in source.glob("*.safetensors")) == sorted(
        f.name for f in target.glob("*.safetensors")
    )
    assert all(
        c.passed
        for c in check_saved(
            locate(open_weights(source)), locate(open_weights(target)), [edit], kinds, "float32"
        )
    )


def test_pickles_become_safetensors_and_code_stays_behind(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    target.mkdir()
    model = speaking("bert")
    model.config.save_pretrained(source)
    torch.save(model.state_dict(), source / "pytorch_model.bin")
    (source / "modeling_mine.py").write_text("raise SystemExit")
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text("{}")
    edit = edit_of(locate(open_weights(source)))
    kinds = save_checkpoint(source, target, [edit])
    assert sorted(str(f.relative_to(target)) for f in target.rglob("*") if f.is_file()) == [
        "1_Pooling/config.json",
        "config.json",
        "model.safetensors",
    ]
    checks = check_saved(
        locate(open_weights(source)), locate(open_weights(target)), [edit], kinds, "float32"
    )
    assert all(check.passed for check in checks)


def test_rounding_is_to_nearest_even():
    values = np.array([1.0, 1.00390625, 1.01171875, -3.0e38, 0.1])
    expected = torch.tensor(values).to(torch.bfloat16).view(torch.uint16).numpy()
    np.testing.assert_array_equal(rounded(values, "bfloat16").view(np.uint16), expected)


def test_what_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="is a file; --out must be a directory"):
        output_directory(tmp_path / "file").check()
    with pytest.raises(InputError, match="was not written by eigenloop steer"):
        output_directory(tmp_path / "other").check()
    with pytest.raises(InputError, match="is the model itself"):
        output_directory(tmp_path / "other", tmp_path / "other").check()
    (tmp_path / "empty").mkdir()
    output_directory(tmp_path / "empty").check()


def filled(out: Path, *names: str, fill=None) -> list[str]:
    """Write a directory of files with these names; what is there afterwards, apart from the
    lock.
    """

    def touch(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"{names}")

    place = output_directory(out)
    with place.held():
        write_directory(place, fill or touch, {"command": "eigenloop steer"})
    return sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and path.name != LOCK
    )


def test_an_error_while_writing_leaves_nothing_and_keeps_what_was_there(tmp_path):
    def broken(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        filled(tmp_path / "out", fill=broken)
    assert list(tmp_path.iterdir()) == []
    assert filled(tmp_path / "out", "a", "sub/b") == ["a", "steer.json", "sub/b"]
    with pytest.raises(RuntimeError, match="inside"):
        filled(tmp_path / "out", fill=broken)
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [LOCK, "a", "steer.json", "sub"]
    assert filled(tmp_path / "out", "c") == ["c", "steer.json"]
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [LOCK, "c", "steer.json"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_that_is_full_is_one_line_and_leaves_what_was_there(tmp_path):
    filled(tmp_path / "out", "a")

    def full(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match="No space left on device; choose another --out"):
        filled(tmp_path / "out", fill=full)
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == [LOCK, "a", "steer.json"]


@pytest.mark.parametrize("at", range(6))
def test_a_run_killed_while_it_moves_files_is_replaced_by_the_next_and_never_loads(
    tmp_path, monkeypatch, at
):
    """Killed at any change of the directory: the same command goes on; foreign files still
    refuse.
    """
    out, steps = tmp_path / "out", itertools.count()
    filled(out, "a", "config.json", "stale")

    def dying(function):
        def step(*arguments, **settings):
            if next(steps) == at:
                # the folder is cleared by it, other than by SIGKILL: put back below
                raise KeyboardInterrupt
            return function(*arguments, **settings)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying(os.replace))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            filled(out, "a", "config.json", "new")
    (out / STAGED).mkdir()
    (out / STAGED / "half").touch()
    assert at == 0 or not (out / "config.json").exists()
    assert filled(out, "a", "config.json", "new") == ["a", "config.json", "new", "steer.json"]
    assert (out / "a").read_text() == str(("a", "config.json", "new"))
    (out / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"thesis.tex, which eigenloop steer did not write"):
        filled(out, "a")


def test_directories_of_earlier_versions_are_recognised(tmp_path):
    filled(tmp_path / "out", "a")
    (tmp_path / "out" / LOCK).unlink()
    assert filled(tmp_path / "out", "b") == ["b", "steer.json"]


@pytest.mark.parametrize("model_type", ["gpt2", "bert", "llama"])
def test_an_adapter_is_the_change_and_nothing_else(tmp_path, model_type):
    """Read back by hand: W + B A and b + c give the edited weights to float32."""
    model = load(speaking(model_type))
    edit = edit_of(model.stack)
    save_adapter(model.stack, tmp_path, [edit])
    after = locate(Weights(model.stack.weights.config, _merged(model.stack, tmp_path), "merged"))
    changed = [
        f"{name}.{end}"
        for name in json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
        for end in ("weight", "bias")
    ]
    checks = check_saved(model.stack, after, [edit], changed, "float32")
    assert not [check for check in checks if check.passed is False]
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["r"] == (2 if model_type == "llama" else 1)  # two heads of a group write u each
    assert config["lora_bias"] is (model_type != "llama")
    size = sum(tensor.size for tensor in load_file(tmp_path / "adapter_model.safetensors").values())
    assert size < 500


@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
)  # peft's own
@pytest.mark.parametrize("model_type", ["gpt2", "bert", "llama"])
def test_peft_loads_an_adapter_and_removes_it(tmp_path, model_type):
    peft = pytest.importorskip("peft", reason="peft is missing")
    module = speaking(model_type)
    ids = torch.arange(5, 15)[None]
    model = load(module)
    edits = [edit_of(model.stack, layer) for layer in (1, 2)]
    with torch.no_grad():
        before = module(ids).logits
        with applied(model, edits):
            expected = module(ids).logits
    save_adapter(model.stack, tmp_path, edits)
    adapted = peft.PeftModel.from_pretrained(module, tmp_path).eval()
    with torch.no_grad():
        found = adapted(ids).logits
        with adapted.disable_adapter():
            off = adapted(ids).logits
    assert float((expected - before).abs().max()) > 1e-2
    np.testing.assert_allclose(
        found.numpy(), expected.numpy(), rtol=0, atol=2e-5 * float(expected.abs().max())
    )
    assert torch.equal(off, before)


def test_factors_are_of_the_lowest_rank_and_keep_zeros():
    rng = np.random.default_rng(0)
    change = rng.standard_normal((9, 2)) @ rng.standard_normal((2, 7))
    change[3], change[:, 5] = 0, 0
    down, up = factors(change)
    assert down.shape == (9, 2)
    np.testing.assert_allclose(down @ up, change, atol=1e-12)
    assert not np.any(down[3])
    assert not np.any(up[:, 5])


def test_no_adapter_of_nothing_or_of_high_rank():
    stack = load(speaking("bert")).stack
    with pytest.raises(InputError, match="changes nothing, so there is no adapter"):
        adapter(stack, [edit_of(stack, strength=0.0)])
    # each head's swap is of rank one, on another set of columns: rank 4 here
    for seed in range(10):
        wide = load(speaking("bert", seed=seed)).stack
        try:
            found = edit_of(wide, method=swap_heads, strength=0.5)
        except InputError:
            continue
        assert (
            max(adapter(wide, [found])[1]["rank_pattern"].values())
            == len(found.heads)
            <= LARGEST_RANK
        )
        break


def test_checks_notice_what_is_wrong(tmp_path):
    model = load(speaking("gpt2"))
    stack, edit = model.stack, edit_of(model.stack)
    from eigenloop.steer import changed_tensors

    right = changed_tensors(stack, [edit])

    def verdicts(above) -> list[bool | None]:
        after = locate(
            Weights(stack.weights.config, Overlaid(stack.weights.tensors, above), "changed")
        )
        return [check.passed for check in check_saved(stack, after, [edit], right, "float32")]

    assert verdicts(right) == [True, True, True]
    name = "transformer.h.1.attn.c_proj.weight"
    assert verdicts({**right, name: right[name] * (1 + 1e-4)}) == [True, False, False]
    other = "transformer.h.0.attn.c_proj.weight"
    assert verdicts({**right, other: stack.weights.tensors.read(other) * 1.001}) == [
        False,
        True,
        True,
    ]
    assert verdicts({}) == [True, True, False]
    error, bound = intended_error(edit, edit.after, "float32")
    assert error < 1e-13 < bound < 1e-5
    for effect, passed in (
        (np.full(9, 1e-7), False),
        (np.full(9, 0.1), True),
        (np.full(9, -0.1), True),
        (np.array([0.1, -0.1, 0.05, -0.06]), False),
    ):
        assert check_effect(effect).passed is passed


def test_a_shared_layer_and_siblings_are_reported():
    stack = locate(speaking("albert"))
    edit = edit_of(stack)
    found = check_saved(stack, stack, [edit], [], "float32")
    assert any("shared" in check.name and check.passed is None for check in found)
    stack = locate(speaking("llama"))
    found = check_saved(stack, stack, [edit_of(stack)], [], "float32")
    assert any("share W_V change together" in check.name for check in found)


def test_the_source_is_untouched(tmp_path):
    source, target = saved(tmp_path / "source", "gpt2"), tmp_path / "target"
    target.mkdir()
    shutil.copytree(source, tmp_path / "copy")
    save_checkpoint(source, target, [edit_of(locate(open_weights(source)))])
    for file in source.iterdir():
        assert file.read_bytes() == (tmp_path / "copy" / file.name).read_bytes()
