"""A vector's evidence in words, as far as it is not numbers per layer."""

import json
from collections.abc import Mapping
from typing import Any

FINGERPRINT = 12
"""Characters of a fingerprint that are shown."""
_FIRST = ("pairs", "data_fingerprint", "confounds", "taken_out", "combination", "verdict")
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


def _range(values: Any) -> str:
    """``0.91 to 0.99`` of a column; empty where there are no numbers in it."""
    numbers = [value for value in values if isinstance(value, float)] if isinstance(values, list) else []
    return f"{min(numbers):.2f} to {max(numbers):.2f}" if numbers else ""
