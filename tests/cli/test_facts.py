from typing import Any

import pytest

from steer_llama.cli.facts import facts_in_words


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {
                "confounds": {
                    "matched": ["position", "log length"],
                    "effective_pairs": 13.62,
                    "cosine_with_unmatched": [0.981, 0.99],
                    "explained": [0.1, 0.25],
                }
            },
            [
                (
                    "matched on",
                    "position, log length; worth 13.6 pairs; cosine with the unmatched direction 0.98 to 0.99; "
                    "they explain 0.10 to 0.25 of the variance",
                )
            ],
        ),
        ({"confounds": {"matched": []}}, [("matched on", "nothing that differs")]),
        ({"confounds": {"matched": ["x"], "explained": "much"}}, [("matched on", "x")]),
        (
            {"taken_out": {"shared_mean": True, "cosine": {"emoji": [0.5, 0.25]}, "norm_kept": [0.9, 0.8]}},
            [("taken out", "what both arms share, emoji (cosine 0.25 to 0.50); kept 0.80 to 0.90 of ‖v‖")],
        ),
        (
            {
                "training": {
                    "start": "mean_diff",
                    "settings": {"steps": 40},
                    "layers": [
                        {
                            "layer": 8,
                            "best_step": 35,
                            "n_dev": 3,
                            "unsteered_chosen_preferred": 1 / 3,
                            "before": {"dev": {"loss": 0.6025}, "train": {"loss": 9.0}},
                            "after": {"dev": {"loss": 0.5469, "chosen_preferred": 2 / 3, "rejected_preferred": 1.0}},
                            "cosine_with_start": 0.7398,
                            "history": [[0, None, 0.6]],
                        },
                        {"layer": 9, "best_step": 0, "before": None, "after": {"dev": {"loss": 0.5}}},
                        {"layer": 10, "after": {"dev": 3}, "best_step": "none"},
                        "odd",
                    ],
                }
            },
            [
                ("trained", "from mean_diff"),
                (
                    "  at layer 8",
                    "dev loss 0.603 → 0.547; step 35 was kept; the chosen answer is preferred in 3 dev pairs: "
                    "33% unsteered, 67% with the vector added; the rejected one with it subtracted: 100%; "
                    "cosine with the start 0.74",
                ),
                ("  at layer 9", "dev loss 0.5; no step was better than the start, which was kept"),
                ("  at layer 10", "not known"),
                ("  at a layer", "not known"),
            ],
        ),
        ({"training": "long"}, [("training", "long")]),
        (
            {"multiplied_by": {"12": -1.14384, "3": "x"}},
            [("multiplied by", "layer 12: -1.14, layer 3: x")],
        ),
        (
            {"combination": {"expression": "2 * a", "parents": {"a": {"trait": "x"}}, "kept": {"a": [2.0, 2.0]}}},
            [("made of", "2 * a"), ("  a", "x, kept 2.00 of it")],
        ),
        ({"confounds": [1, 2]}, [("confounds", "[1, 2]")]),
        ({"seed": 3, "pairs": 7}, [("pairs", "7"), ("seed", "3")]),
        ({"data_fingerprint": "a" * 64}, [("data", "a" * 12)]),
    ],
)
def test_evidence_in_words(facts: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert facts_in_words(facts) == expected
