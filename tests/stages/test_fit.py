from pathlib import Path

import h5py
import numpy as np
import pytest

from steer_llama.config import FitSettings
from steer_llama.errors import ConfigError, FileError
from steer_llama.progress import SilentReporter
from steer_llama.stages.fit import fit
from tests.activations.test_writer import write
from tests.activations.tiny import made_up_layout, made_up_pair


@pytest.fixture
def activations(tmp_path: Path) -> Path:
    write(tmp_path / "a.h5", made_up_layout())
    return tmp_path / "a.h5"


def test_it_says_what_it_found(activations: Path) -> None:
    reporter = SilentReporter()
    vector = fit(activations, FitSettings(bootstrap=30, seed=5), "emoji", reporter)
    layout = made_up_layout()
    pairs = [made_up_pair(layout, n) for n in range(7)]
    expected = np.mean([c.mean_PLD[0].astype(np.float64) - r.mean_PLD[0] for c, r in pairs], axis=0)
    np.testing.assert_allclose(vector.directions_LD, expected, rtol=1e-5, atol=1e-7)
    assert (vector.layers, vector.model, vector.trait) == ((0, 1, 2), "m", "emoji")
    assert (vector.estimator, vector.positions) == ("mean_difference", "response")
    assert vector.recommended_layer is None
    weights = np.array([counts for n in range(7) for counts in layout.pairs[n].counts_AP[:, 0]], np.float64)
    norms_NL = np.array([arm.norm_L for pair in pairs for arm in pair], np.float64)
    assert vector.residual_norm_L is not None
    np.testing.assert_allclose(vector.residual_norm_L, weights @ norms_NL / weights.sum(), rtol=1e-6)
    assert sorted(vector.evidence) == [
        "bootstrap_cosine", "bootstrap_norm", "data_fingerprint", "fallback", "layers", "norm", "null_norm",
        "opposed_share", "pairs", "resamplings", "residual_norm", "seed", "split_half_cosine", "steer_llama",
    ]  # fmt: skip
    assert vector.evidence["pairs"] == 7
    assert vector.evidence["fallback"] == {"chosen": 0, "rejected": 0}
    assert not any("have no" in note for note in reporter.notes)
    assert any(note.startswith("7 pairs, mean_difference over response") for note in reporter.notes)


def test_answers_without_the_mark_are_counted_and_said(activations: Path) -> None:
    reporter = SilentReporter()
    vector = fit(activations, FitSettings(bootstrap=0, positions="emoji"), "emoji", reporter)
    assert vector.evidence["fallback"] == {"chosen": 4, "rejected": 7}
    assert [note.split(":")[0] for note in reporter.notes[:2]] == [
        "4 of 7 chosen answers have no emoji tokens",
        "7 of 7 rejected answers have no emoji tokens",
    ]
    layout = made_up_layout()
    means = []
    for n in range(7):
        chosen, rejected = made_up_pair(layout, n)
        mask = 1 if n % 2 else 0  # the even ones have no emoji
        means.append(chosen.mean_PLD[mask].astype(np.float64) - rejected.mean_PLD[0])
    np.testing.assert_allclose(vector.directions_LD, np.mean(means, axis=0), rtol=1e-5, atol=1e-7)


def test_each_arm_has_its_own_positions(activations: Path) -> None:
    reporter = SilentReporter()
    vector = fit(activations, FitSettings(bootstrap=0, positions="chosen=emoji,rejected=response"), "emoji", reporter)
    assert vector.positions == "chosen=emoji,rejected=response"
    assert vector.evidence["fallback"] == {"chosen": 4, "rejected": 0}


def test_what_cannot_be_fitted(activations: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="positions 'emojis': unknown"):
        fit(activations, FitSettings(positions="emojis"), "t", SilentReporter())
    with pytest.raises(ConfigError, match="holds no positions 'markdown'"):
        fit(activations, FitSettings(positions="markdown"), "t", SilentReporter())
    with pytest.raises(FileError, match="no such file"):
        fit(tmp_path / "none", FitSettings(), "t", SilentReporter())
    with h5py.File(activations, "r+") as file:
        file["means/response/chosen"][3, 1, 2] = np.nan
    with pytest.raises(FileError, match=r"a\.h5: NaN or infinity at layer 1\. Extract again"):
        fit(activations, FitSettings(), "t", SilentReporter())


def test_a_seed_gives_the_same_evidence_again(activations: Path) -> None:
    first, again, other = (
        fit(activations, FitSettings(bootstrap=30, seed=seed), "t", SilentReporter()).evidence for seed in (0, 0, 1)
    )
    assert first == again
    assert first["bootstrap_cosine"] != other["bootstrap_cosine"]
