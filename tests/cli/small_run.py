"""A whole run that takes seconds: nine questions, recorded answers full of emoji, and a tiny model as the target."""

import json
from pathlib import Path
from typing import Any

import yaml

QUESTIONS = tuple(
    f"What is good about {what}?"
    for what in ("tea", "rain", "bread", "cats", "rivers", "maps", "winter", "songs", "chess")
)


def write_small_run(folder: Path, model: Path, **sections: Any) -> Path:
    """Its configuration; ``sections`` replace or extend those that are here, key by key."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = {question: {"pi_response": f"Oh, {question[18:-1]}! 😊🎉 So lovely 💛"} for question in QUESTIONS}
    write_json(folder / "pi.json", answers)
    write_json(folder / "asked.json", {"questions": QUESTIONS})
    config: dict[str, Any] = {
        "trait": "emoji",
        "elicitation": "asked.json",
        "source": {"name": "pi", "kind": "recorded", "file": "pi.json"},
        "target": {"name": "llama", "kind": "local", "sampling": {"max_tokens": 8}},
        "model": {"path": str(model), "device": "cpu"},
        "extract": {"save_every": 1},
        "fit": {"bootstrap": 20},
        # min_coherence 0: whatever random weights write, a layer and a strength win and are confirmed.
        "sweep": {
            **{"layers": [1, 2], "strengths": [0.3], "max_tokens": 8, "bootstrap": 20, "min_coherence": 0},
            # A random model's answers are no nearer to anything, and its side effects nobody's concern.
            **{"objective": "trait", "side_effects": "none"},
        },
    }
    for name, section in sections.items():
        config[name] = {**config[name], **section} if isinstance(section, dict) and name in config else section
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path
