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
        ({"confounds": [1, 2]}, [("confounds", "[1, 2]")]),
        ({"seed": 3, "pairs": 7}, [("pairs", "7"), ("seed", "3")]),
        ({"data_fingerprint": "a" * 64}, [("data", "a" * 12)]),
    ],
)
def test_evidence_in_words(facts: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert facts_in_words(facts) == expected
