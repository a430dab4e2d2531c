"""What the vector's metadata says: single values as facts, and series over its layers to draw."""

import math
from collections.abc import Mapping
from typing import Any


def evidence_facts(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the vector's metadata says in single values; series over layers are drawn instead."""
    facts: list[tuple[str, str]] = []
    for key, value in evidence.items():
        if isinstance(value, Mapping) and value and not any(isinstance(part, list | dict) for part in value.values()):
            facts.append(
                (_plain(key), ", ".join(f"{_plain(str(name))} {_shown(part)}" for name, part in value.items()))
            )
        elif isinstance(value, str | int | float) and value != "":
            facts.append((_plain(key), _shown(value)))
    return facts


def evidence_series(evidence: Mapping[str, Any]) -> dict[str, dict[str, list[float | None]]]:
    """The evidence layer by layer, under ``norm`` and ``agreement``; what is missing or does not fit is left out."""
    count = len(evidence.get("layers") or [])

    def series(values: Any) -> list[float | None] | None:
        return list(values) if isinstance(values, list | tuple) and len(values) == count > 0 else None

    residual = series(evidence.get("residual_norm"))
    shown: dict[str, dict[str, list[float | None]]] = {"norm": {}, "agreement": {}}
    for key, name in (("norm", "‖v‖"), ("null_norm", "with arms swapped at random (95%)")):
        if residual and (norm := series(evidence.get(key))):
            pairs = zip(norm, residual, strict=True)
            shown["norm"][name] = [a / b if a is not None and b else None for a, b in pairs]
    bootstrap = evidence.get("bootstrap_cosine")
    cosine = bootstrap if isinstance(bootstrap, Mapping) else {}
    for key, name in (("mean", "bootstrap"), ("low", "bootstrap low"), ("high", "bootstrap high")):
        if values := series(cosine.get(key)):
            shown["agreement"][name] = values
    for key, name in (("split_half_cosine", "split half"), ("held_out_auroc", "AUROC, held-out pairs")):
        if values := series(evidence.get(key)):
            shown["agreement"][name] = values
    return shown


def _plain(key: str) -> str:
    return key.replace("_", " ")


def _shown(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}"
    return str(value)
