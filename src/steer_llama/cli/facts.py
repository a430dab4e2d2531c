"""A vector's evidence in words, as far as it is not numbers per layer."""

import json
from collections.abc import Mapping
from typing import Any

FINGERPRINT = 12
"""Characters of a fingerprint that are shown."""
_FIRST = ("pairs", "data_fingerprint", "confounds", "taken_out", "training", "combination", "multiplied_by", "verdict")
"""What is shown before the rest."""


def facts_in_words(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a vector's evidence says besides the columns: a title and a line each. Nothing in it is relied upon."""
    found: list[tuple[str, str]] = []
    first = [key for key in _FIRST if key in facts]
    for key in [*first, *(key for key in facts if key not in first)]:
        match key, facts[key]:
            case "combination", {"expression": str(expression), "parents": dict(parents), **rest}:
                found.append(("made of", expression))
                found.extend((f"  {name}", _parent(name, fact, rest.get("kept"))) for name, fact in parents.items())
                notes = rest.get("notes")
                found.extend(("assumed", str(note)) for note in (notes if isinstance(notes, list) else ()))
            case "verdict", {"decision": decision, "sentence": sentence}:
                found.append(("verdict", f"{decision}: {sentence}"))
            case "confounds", {"matched": list(matched), **rest}:
                found.append(("matched on", _matched(matched, rest)))
            case "taken_out", {"norm_kept": list(kept), **rest}:
                found.append(("taken out", _taken_out(kept, rest)))
            case "training", {"layers": list(layers), **rest}:
                start = rest.get("start")
                found.append(("trained", f"from {start}" if isinstance(start, str) and start else "from nothing"))
                found.extend(_trained(layer) for layer in layers)
            case "multiplied_by", dict(factors) if factors:
                shown = ", ".join(f"layer {layer}: {_short(factor)}" for layer, factor in factors.items())
                found.append(("multiplied by", shown))
            case "data_fingerprint", str(digest):
                found.append(("data", digest[:FINGERPRINT]))
            case "steer_llama", str(version):
                found.append(("written by", f"steer-llama {version}"))
            case _, value:
                shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                found.append((key.replace("_", " "), shown))
    return found


def _parent(name: str, fact: Any, kept: Any) -> str:
    if not isinstance(fact, dict):
        return str(fact)
    told = [str(fact[key]) for key in ("trait", "estimator", "positions") if fact.get(key)]
    if fact.get("pairs"):
        told.append(f"{fact['pairs']} pairs")
    if shares := _range(kept.get(name) if isinstance(kept, dict) else None):
        told.append(f"kept {shares} of it")
    return ", ".join(told)


def _matched(names: list[Any], rest: Mapping[Any, Any]) -> str:
    told = [", ".join(map(str, names)) or "nothing that differs"]
    if isinstance(pairs := rest.get("effective_pairs"), float):
        told.append(f"worth {pairs:.1f} pairs")
    if cosines := _range(rest.get("cosine_with_unmatched")):
        told.append(f"cosine with the unmatched direction {cosines}")
    if explained := _range(rest.get("explained")):
        told.append(f"they explain {explained} of the variance")
    return "; ".join(told)


def _taken_out(kept: list[Any], rest: Mapping[Any, Any]) -> str:
    told = ["what both arms share"] if rest.get("shared_mean") is True else []
    others = rest.get("cosine")
    for name, cosines in others.items() if isinstance(others, dict) else ():
        told.append(f"{name} (cosine {_range(cosines) or 'not known'})")
    return f"{', '.join(told) or 'nothing'}; kept {_range(kept) or 'an unknown share'} of ‖v‖"


def _trained(layer: Any) -> tuple[str, str]:
    """What training did at one layer; what is not there, or of another type, is passed over."""
    if not isinstance(layer, Mapping):
        return "  at a layer", "not known"
    told: list[str] = []
    before, after = (_dev(layer.get(key)) for key in ("before", "after"))
    if "loss" in after:
        told.append(f"dev loss {_short(before['loss'])} → " if "loss" in before else "dev loss ")
        told[-1] += _short(after["loss"])
    if isinstance(step := layer.get("best_step"), int):
        told.append(f"step {step} was kept" if step else "no step was better than the start, which was kept")
    shares = {
        "unsteered": layer.get("unsteered_chosen_preferred"),
        "with the vector added": after.get("chosen_preferred"),
    }
    preferred = [f"{share:.0%} {name}" for name, share in shares.items() if _is_number(share)]
    pairs = layer.get("n_dev")
    if preferred:
        of = f" in {pairs} dev pairs" if isinstance(pairs, int) else ""
        told.append(f"the chosen answer is preferred{of}: {', '.join(preferred)}")
    if _is_number(share := after.get("rejected_preferred")):
        told.append(f"the rejected one with it subtracted: {share:.0%}")
    if _is_number(cosine := layer.get("cosine_with_start")):
        told.append(f"cosine with the start {cosine:.2f}")
    return f"  at layer {layer.get('layer', '?')}", "; ".join(told) or "not known"


def _dev(measured: Any) -> Mapping[Any, Any]:
    """What was measured on dev pairs."""
    found = measured.get("dev") if isinstance(measured, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _short(value: Any) -> str:
    return f"{value:.3g}" if _is_number(value) else str(value)


def _range(values: Any) -> str:
    """``0.91 to 0.99`` of a column, or one number where they are alike; empty where there are no numbers in it."""
    numbers = [value for value in values if isinstance(value, float)] if isinstance(values, list) else []
    if not numbers:
        return ""
    low, high = f"{min(numbers):.2f}", f"{max(numbers):.2f}"
    return low if low == high else f"{low} to {high}"
