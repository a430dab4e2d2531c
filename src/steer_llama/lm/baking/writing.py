"""Writing a baked folder: weights are copied file by file, never held in memory."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from safetensors.torch import save

from steer_llama.errors import StorageError
from steer_llama.lm.baking.checkpoint import CARD, INDEX, Checkpoint
from steer_llama.lm.baking.new_folder import check_new_folder, new_folder
from steer_llama.lm.baking.planning import Baking, plan_baking
from steer_llama.progress import Reporter

_BLOCK = 8 << 20
_MEBI = 1 << 20
_SPARE = 16 << 20
"""Bytes for configuration, index and card."""
BASE_CARD = "README.base.md"
"""Where the original model's README goes."""

Finish = Callable[[Path], str]
"""Is given the finished folder, under its temporary name; looks at it and returns the text of its README.md."""


def bake_checkpoint(
    source_folder: Path,
    added_by_layer: Mapping[int, npt.ArrayLike],
    out_folder: Path,
    reporter: Reporter,
    finish: Finish | None = None,
) -> Baking:
    """Write a plain Hugging Face folder whose block L always adds ``added_by_layer[L]`` at its output.

    Args:
        source_folder: the model, as unquantised safetensors.
        added_by_layer: vectors (width) by 0-based block, already multiplied by their coefficient.
        out_folder: a new or an empty folder; it appears whole or not at all.
        reporter: told the progress and the plan's notes.
        finish: checks the folder and writes its card; default: a card that says the bare facts.

    Raises:
        ModelError: the model cannot be baked.
        LayerError: it has no such layer.
        VectorError: a vector does not fit.
        StorageError: something is in the way, or the disk is too small.
    """
    check_new_folder(out_folder)
    baking = plan_baking(source_folder, added_by_layer)
    for note in baking.notes:
        reporter.note(note)
    write_baking(baking, out_folder, reporter, finish or (lambda _: _bare_card(baking)))
    return baking


def write_baking(baking: Baking, out: Path, reporter: Reporter, finish: Finish) -> None:
    """Write what was planned.

    Raises:
        StorageError: something is in the way, or the disk is too small.
    """
    source = baking.source
    copies = _names(baking) | {name: name for name in source.others}
    if CARD in copies:
        copies[CARD] = BASE_CARD
    with new_folder(out) as scratch:
        _check_room(baking, list(copies), scratch, out)
        total = sum(_blocks((source.folder / name).stat().st_size) for name in copies)
        with reporter.task("copying", total, "MiB") as advance:
            for name, new_name in copies.items():
                _copy(source.folder / name, scratch / new_name, advance)
        _patch(baking, scratch)
        _add(baking, scratch)
        _write_json(scratch / "config.json", baking.config)
        # The check comes first, so that the card can say what it found, and a folder that fails it never appears.
        card = finish(scratch)
        (scratch / CARD).write_text(card, encoding="utf-8")


def _names(baking: Baking) -> dict[str, str]:
    """The weight files' new names: one more makes the count in all of them another."""
    shards = baking.source.shards
    if not baking.added:
        return {shard: shard for shard in shards}
    return {shard: _shard_name(number, len(shards) + 1) for number, shard in enumerate(shards, start=1)}


def _shard_name(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"


def _check_room(baking: Baking, files: list[str], scratch: Path, out: Path) -> None:
    source: Checkpoint = baking.source
    needed = sum((source.folder / name).stat().st_size for name in files) + _SPARE
    needed += sum(tensor.nbytes for tensor in baking.added.values())
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise StorageError(
            f"cannot write {out}: the baked model needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. "
            "Free some space, or name another place with -o."
        )


def _copy(source: Path, target: Path, advance: Callable[[int], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(_BLOCK):
            writing.write(block)
            advance(_blocks(len(block)))


def _blocks(size: int) -> int:
    return -(-size // _MEBI)


def _patch(baking: Baking, scratch: Path) -> None:
    """Overwrite the biases in place: type and shape are the same, so the file's header stays true."""
    names = _names(baking)
    for name, tensor in baking.patched.items():
        stored = baking.source.tensors[name]
        content = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        if len(content) != stored.end - stored.begin:
            raise RuntimeError(f"{name}: {len(content)} bytes for {stored.end - stored.begin}")
        with (scratch / names[stored.shard]).open("r+b") as file:
            file.seek(stored.begin)
            file.write(content)


def _add(baking: Baking, scratch: Path) -> None:
    """Write the new tensors as the last weight file, and the index that names it."""
    source = baking.source
    if not baking.added:
        if source.index is not None:
            _write_json(scratch / INDEX, source.index)
        return
    names = _names(baking)
    last = _shard_name(len(names) + 1, len(names) + 1)
    (scratch / last).write_bytes(save(dict(baking.added), metadata={"format": "pt"}))
    old: Mapping[str, Any] = source.index or {}
    old_map = old.get("weight_map") or {name: stored.shard for name, stored in source.tensors.items()}
    weight_map = {name: names[shard] for name, shard in old_map.items()} | dict.fromkeys(baking.added, last)
    given = old.get("metadata")
    metadata = dict(given) if isinstance(given, dict) else {}
    if not isinstance(metadata.get("total_size"), int):
        metadata["total_size"] = sum(stored.end - stored.begin for stored in source.tensors.values())
    metadata["total_size"] += sum(tensor.nbytes for tensor in baking.added.values())
    if isinstance(metadata.get("total_parameters"), int):
        metadata["total_parameters"] += sum(tensor.numel() for tensor in baking.added.values())
    _write_json(scratch / INDEX, {"metadata": metadata, "weight_map": dict(sorted(weight_map.items()))})


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _bare_card(baking: Baking) -> str:
    layers = ", ".join(map(str, baking.rounding))
    return f"# A steered model\n\nA vector is added to the residual stream at the output of block {layers} (0-based).\n"
