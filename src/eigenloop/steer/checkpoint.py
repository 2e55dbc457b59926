"""A steered model as an ordinary checkpoint: the source's files with some bytes of some tensors
replaced (NumPy).

Every tensor that is not edited keeps its bytes, its name and its kind of number, and so does every
entry of an edited one that stays. Files that hold weights in another form, or code, are not copied.
"""

import json
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from eigenloop.lens.model.sources import weight_files
from eigenloop.lens.model.stack import Stack, locate
from eigenloop.steer.edits import Edit
from eigenloop.steer.writing import changed_tensors, rounded
from eigenloop.system.directories import LOCK, STAGED, OutputDirectory
from eigenloop.system.errors import InputError
from eigenloop.system.wording import number

MARK = "steer.json"
"""The record that makes a directory ours, written last."""

COPIED = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".vocab", ".bpe", ".merges")
"""Files of a checkpoint that are copied beside the weights: configuration and tokenizer."""


def output_directory(out: Path, source: Path | None = None) -> OutputDirectory:
    """Where `eigenloop steer` writes: a new or an empty directory, or one that holds only what it
    wrote.

    Directories of earlier versions bear no mark; their record is recognised.

    Args:
        out: the directory.
        source: the directory of the model, which is not written to.
    """

    def refuse() -> None:
        if source is not None and source.exists():
            ours, theirs = out.resolve(), source.resolve()
            if ours == theirs or ours in theirs.parents or theirs in ours.parents:
                raise InputError(
                    f"--out {out} is the model itself, holds it or lies in it; choose another"
                    " directory"
                )
        if out.is_symlink():
            raise InputError(f"{out} is a file; --out must be a directory")
        marked, found = place.owners().get(place.command, ()), _files(out)
        if found and not marked and not _is_ours(out):
            raise InputError(
                f"{out} exists and was not written by eigenloop steer; choose a new directory"
            )
        theirs = sorted({*found} - {*marked, *_written(out)})
        if theirs:
            raise InputError(
                f"{out} holds {theirs[0]}, which eigenloop steer did not write; choose a new"
                " directory"
            )

    place = OutputDirectory(out, "steer", (MARK, STAGED), refuse=refuse)
    return place


def write_directory(
    place: OutputDirectory, fill: Callable[[Path], None], record: Mapping[str, Any]
) -> None:
    """Fill a folder inside a held directory, then move all of it to its place; nothing is left
    after an error.

    While it is moved, the directory has no configuration and no record, so that no mixture of two
    checkpoints loads.

    Args:
        place: from `output_directory`; what an earlier run wrote there is replaced.
        fill: writes into the folder that it is given.
        record: what `MARK` says, JSON values.

    Raises:
        InputError: the place cannot be written to.
    """
    out, fresh = place.path, place.path / STAGED
    try:
        fresh.mkdir()
        fill(fresh)
        new = [*_files(fresh), MARK]
        text = json.dumps({**record, "files": new}, allow_nan=False, indent=1)
        (fresh / MARK).write_text(f"{text}\n", "utf-8")
        old = _files(out)
        place.claim([*place.names, *old, *new])
        last = ["config.json", MARK]
        for name in (*last, *({*old} - {*new} - {*last})):
            (out / name).unlink(missing_ok=True)
        for name in sorted(new, key=lambda name: (last.index(name) if name in last else -1, name)):
            if (fresh / name).exists():
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(fresh / name, out / name)
        for folder in {(out / name).parent for name in old} - {out}:
            if not any(folder.iterdir()):
                folder.rmdir()
        place.claim([*place.names, *new])
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot write {out}: {why}; choose another --out") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _files(directory: Path) -> list[str]:
    """Every file below a directory by its path there, without the lock and the folder that is
    being filled.
    """
    paths = (
        path.relative_to(directory)
        for path in directory.rglob("*")
        if path.is_symlink() or not path.is_dir()
    )
    return sorted(path.as_posix() for path in paths if path.parts[0] not in (LOCK, STAGED))


def _written(directory: Path) -> list[str]:
    """The files that a directory of ours was written with."""
    try:
        return [
            str(name)
            for name in json.loads((directory / MARK).read_text(encoding="utf-8")).get("files", [])
        ]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def save_checkpoint(
    source: Path, directory: Path, edits: Sequence[Edit], *, stack: Stack | None = None
) -> dict[str, str]:
    """Write the steered checkpoint: weights as safetensors, configuration and tokenizer copied.

    Args:
        source: the directory of the model; safetensors files, or .bin files (which become
            safetensors).
        directory: where to; it exists.
        edits: at most one for each block.
        stack: of the source, where its weights are open already.

    Returns:
        name of each tensor that differs -> the kind of number it is stored as.

    Raises:
        InputError: the source cannot be read, or a tensor of the edit is not there.
    """
    stack = stack or locate(source)
    tensors, changed = stack.weights.tensors, changed_tensors(stack, edits)
    copy_settings(source, directory)
    # a stale one would name other files
    (directory / "model.safetensors.index.json").unlink(missing_ok=True)
    files = weight_files(source)
    if files.pickled:
        return _from_bin(tensors, changed, directory)
    kinds: dict[str, str] = {}
    for file in files.paths:
        target = directory / file.name
        shutil.copyfile(file, target)
        with target.open("r+b") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
            for name in changed.keys() & header.keys():
                kinds[name] = tensors.stored(name)
                begin, end = header[name]["data_offsets"]
                content = rounded(changed[name], kinds[name]).tobytes()
                if len(content) != end - begin:
                    raise InputError(
                        f"{file}: {name} has another size than its header says; download it again"
                    )
                stream.seek(8 + length + begin)
                stream.write(content)
    if files.index is not None:
        shutil.copyfile(files.index, directory / files.index.name)
    return kinds


def copy_settings(source: Path, directory: Path) -> None:
    """Copy configuration and tokenizer, subdirectories of settings included; no weights, no
    code.
    """
    for file in sorted(source.rglob("*")):
        inside = file.relative_to(source)
        hidden = any(part.startswith(".") for part in inside.parts)
        if (
            hidden
            or len(inside.parts) > 2
            or not file.is_file()
            or file.suffix not in COPIED
            or inside.name == MARK
        ):
            continue
        if inside.name.endswith(".bin.index.json"):
            continue
        (directory / inside).parent.mkdir(exist_ok=True)
        shutil.copyfile(file, directory / inside)


def model_card(about: Mapping[str, Any], base: str, command: str) -> str:
    """README.md of a steered checkpoint: what was edited, by how much, with the command.

    Args:
        about: the record that is written as `MARK`.
        base: the model that was edited; named as `base_model` where it is a name on the hub, never
            by a path.
        command: what wrote it; absolute paths in it become names.
    """
    rows = "\n".join(
        f"| {layer['layer']} | {', '.join(map(str, layer['heads']))} |"
        f" {layer['edit_size']['output']:.3g} | {layer['edit_size']['value']:.3g} |"
        f" {layer['edit_size']['layer']:.3g} |"
        for layer in about["edits"]
    )
    tensors = "\n".join(f"- `{name}`" for name in about["tensors"])
    local = Path(base).exists() or base.count("/") > 1 or base.startswith((".", "/", "~"))
    name = Path(base).resolve().name if local else base
    base_model = "" if local else f"base_model: {json.dumps(base)}\n"
    command = shlex.join(
        Path(word).name if Path(word).is_absolute() else word for word in shlex.split(command)
    )
    what = "Weights of attention sublayers were changed"
    if about["adapter"]:
        what = (
            "A LoRA adapter for PEFT, to be loaded into the model with its head: it changes"
            " attention sublayers"
        )
    before, after = (
        number(about[f"signed_cos_{when}"], missing="not measured") for when in ("before", "after")
    )
    return f"""---
{base_model}library_name: {"peft" if about["adapter"] else "transformers"}
tags: [eigenloop, steering]
---

# {name}, steered towards {about["direction"]}

{what} so that the residual stream tilts towards a direction; the tensors below, and nothing else.
Method `{about["method"]}`, strength {about["strength"]:.6g},
direction: {about["direction_source"]}.

    {command}

| layer | heads | change of W_O | of W_V | of F = W_O W_V |
|---|---|---|---|---|
{rows}

Changes are relative to the weights of the heads in question (F: of the whole layer), in the
Frobenius norm. Tensors that differ from those of the base model:

{tensors}

All others are identical, bit for bit. Signed cosine of the final states with the direction, on
held-out text: {before} before, {after} after; `steer.json` has every number
and `report.html` what it costs. Written by eigenloop {about["version"]}.
"""


def _is_ours(directory: Path) -> bool:
    try:
        return (
            "eigenloop steer"
            in json.loads((directory / MARK).read_text(encoding="utf-8"))["command"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _from_bin(tensors: Any, changed: Mapping[str, np.ndarray], directory: Path) -> dict[str, str]:
    """All tensors of .bin files as one safetensors file, in their own kinds of numbers."""
    import torch
    from safetensors.torch import save_file

    held = tensors._tensors
    everything = {name: tensor.detach().clone().contiguous() for name, tensor in held.items()}
    for name, values in changed.items():
        everything[name] = torch.from_numpy(values).to(held[name].dtype)
    save_file(everything, directory / "model.safetensors", metadata={"format": "pt"})
    return {name: tensors.stored(name) for name in changed}
