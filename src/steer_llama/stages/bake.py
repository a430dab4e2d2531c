"""``export --to checkpoint``: a model's folder with the vector baked in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from steer_llama.config import ModelSettings
from steer_llama.lm.baking import Baking, Compared, Source, check_tokenizers, compare, find_source, plan_baking
from steer_llama.lm.baking import write_baking as write
from steer_llama.lm.baking.checkpoint import CARD
from steer_llama.lm.baking.new_folder import check_new_folder
from steer_llama.progress import Reporter
from steer_llama.stages.size import Size, or_recommended
from steer_llama.vectors import SteeringVector
from steer_llama.vectors.cards import BakedFacts, baked_card, base_license, hub_id

PROMPTS = (
    "What should I do at the beach? Tell me three things.",
    "Explain in two sentences why the sky is blue.",
    "Hello! How are you today?",
)
"""What the baked folder and the hook are compared on."""


@dataclass(frozen=True)
class Baked:
    """What was written."""

    out: Path
    coefficients: Mapping[int, float]
    rounding: Mapping[int, float]
    """Relative, per layer."""
    compared: Compared | None
    """``None`` where it was not verified."""


def bake(
    vector: SteeringVector,
    model_settings: ModelSettings,
    out: Path,
    reporter: Reporter,
    *,
    layers: Sequence[int] | None = None,
    strength: float | None = None,
    coefficient: float | None = None,
    any_model: bool = False,
    verify: bool = True,
) -> Baked:
    """Write a plain Hugging Face folder that is always steered.

    Args:
        vector: what is baked in.
        model_settings: the model; device and dtype are the comparison's, the weights keep their own type.
        out: a new or an empty folder.
        reporter: told the progress and what is worth knowing.
        layers: 0-based blocks, each at the same strength or coefficient; default: the vector's recommendation.
        strength: ‖added‖ over the mean residual norm; default: the vector's recommendation.
        coefficient: what the vector is multiplied by instead.
        any_model: accept other weights of the same shape than the vector was fitted on.
        verify: load both models, one after the other, and compare logits with a hook's.

    Raises:
        ConfigError: no layer or strength is given and the vector recommends none, or both kinds of strength are.
        VectorError: the vector is not for this model, or is zero there.
        LayerError: the vector has no such layer.
        ModelError: the model cannot be baked, or the check failed.
        StorageError: ``out`` is in use, or the disk is too small.
    """
    check_new_folder(out)
    chosen, size = or_recommended(vector, tuple(layers or ()), Size(strength, coefficient).not_zero())
    coefficients = {layer: size.coefficient_at(vector, layer) for layer in chosen}
    source = find_source(model_settings.where, reporter)
    added = {layer: number * vector.direction_D(layer).astype(np.float64) for layer, number in coefficients.items()}
    baking = plan_baking(source.folder, added, source.name)
    known = not any_model and bool(vector.model_fingerprint)
    fingerprint = source.fingerprint if known else vector.model_fingerprint
    vector.check_fits(source.name, fingerprint, baking.place.n_layers, baking.width)
    for note in baking.notes:
        reporter.note(note)
    compared: list[Compared] = []

    def finish(folder: Path) -> str:
        if baking.place.rewritten:
            check_tokenizers(source.folder, folder)
        if verify:
            hooks = {layer: torch.from_numpy(vector_D).float() for layer, vector_D in added.items()}
            compared.append(compare(model_settings, folder, hooks, PROMPTS, reporter))
            reporter.note(str(compared[0]))
        return baked_card(vector, _facts(source, baking, coefficients, compared))

    write(baking, out, reporter, finish)
    reporter.note(f"wrote {out}")
    return Baked(out, coefficients, baking.rounding, compared[0] if compared else None)


def _facts(
    source: Source, baking: Baking, coefficients: Mapping[int, float], compared: Sequence[Compared]
) -> BakedFacts:
    readme = source.folder / CARD
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    told = baking.source.config.get("_name_or_path")
    return BakedFacts(
        base=source.name,
        base_hub_id=hub_id(source.hub_id, told if isinstance(told, str) else None),
        coefficients=coefficients,
        rounding=baking.rounding,
        dtype=baking.dtype,
        module=baking.place.module,
        bias_is_new=not baking.place.exists,
        checked=str(compared[0]) if compared else "",
        license=base_license(text),
        notes=baking.place.notes,
    )
