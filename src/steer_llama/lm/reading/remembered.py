"""What was measured of this machine, kept in the cache folder.

A choice that rests on a measurement is then the same the next time: a run that was killed goes on with the batches and
the type that it was begun with.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from steer_llama.errors import StorageError
from steer_llama.files import digest_json, write_json
from steer_llama.lm.embedded import cache_folder
from steer_llama.lm.load import LanguageModel


def remembered(model: LanguageModel, what: Sequence[str], measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What ``measure`` gives, or gave the last time for this machine and a model of this shape.

    Args:
        model: the weights, where they run.
        what: tells one measurement from another.
        measure: gives named figures.
    """
    path, key = cache_folder() / "speed.json", _key(model, what)
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in known[key].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    found = measure()
    _keep(path, key, found)
    return found


def _keep(path: Path, key: str, found: dict[str, float]) -> None:
    try:
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        write_json(path, {**(known if isinstance(known, dict) else {}), key: found})
    except StorageError:
        pass  # without a cache it is measured again the next time


def _key(model: LanguageModel, what: Sequence[str]) -> str:
    """What a speed depends on."""
    config = model.text_config
    shape = [getattr(config, name, None) for name in ("model_type", "intermediate_size", "num_attention_heads")]
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else _cpu()
    machine = [model.device.type, device, torch.get_num_threads(), torch.__version__]
    return digest_json([*what, *shape, model.width, model.dtype, *machine])[:16]


def _cpu() -> str:
    told = torch.cpu.get_capabilities()
    return f"{told.get('cpu_name')} {torch.backends.cpu.get_cpu_capability()} {os.cpu_count()}"
