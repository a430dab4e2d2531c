import json
from pathlib import Path
from typing import get_args

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from steer_llama.activations import CONFOUNDS
from steer_llama.config import EstimatorName, ExtractSettings, FitSettings, ModelSettings, TrainSettings
from steer_llama.errors import ConfigError, FileError
from steer_llama.progress import SilentReporter
from steer_llama.stages.conversations import PairsFile
from steer_llama.stages.extract import extract
from steer_llama.stages.fit import fit, fit_trained
from steer_llama.vectors import ESTIMATORS, write_vector
from tests.activations import tiny
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
    assert (vector.estimator, vector.positions) == ("mean_diff", "response")
    assert vector.recommended_layer is None
    weights = np.array([counts for n in range(7) for counts in layout.pairs[n].counts_AP[:, 0]], np.float64)
    norms_NL = np.array([arm.norm_L for pair in pairs for arm in pair], np.float64)
    assert vector.residual_norm_L is not None
    np.testing.assert_allclose(vector.residual_norm_L, weights @ norms_NL / weights.sum(), rtol=1e-6)
    assert sorted(vector.evidence) == [
        "bootstrap_cosine", "bootstrap_norm", "data_fingerprint", "fallback", "folds", "held_out_auroc",
        "held_out_cohens_d", "layers", "norm", "null_norm", "null_p", "opposed_share", "pairs", "relative_norm",
        "resamplings", "residual_norm", "seed", "split_half_cosine", "steer_llama",
    ]  # fmt: skip
    assert vector.evidence["pairs"] == 7
    assert vector.evidence["fallback"] == {"chosen": 0, "rejected": 0}
    assert not any("have no" in note for note in reporter.notes)
    assert any(note.startswith("7 pairs, mean_diff over response") for note in reporter.notes)


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


@pytest.mark.parametrize("estimator", [name for name in ESTIMATORS if name != "mean_diff"])
def test_every_estimator_through_the_stage(activations: Path, estimator: str) -> None:
    vector = fit(activations, FitSettings.model_validate({"estimator": estimator}), "t", SilentReporter())
    layout = made_up_layout()
    pairs = [made_up_pair(layout, n) for n in range(7)]
    chosen, rejected = (np.stack([pair[arm].mean_PLD[0] for pair in pairs]) for arm in (0, 1))
    for row in range(3):
        expected = ESTIMATORS[estimator](chosen[:, row], rejected[:, row])[0]
        np.testing.assert_allclose(vector.directions_LD[row], expected, rtol=1e-4, atol=1e-6)
    assert (vector.estimator, vector.evidence["resamplings"]) == (estimator, 50)


def test_the_settings_know_every_estimator_and_confound() -> None:
    assert get_args(EstimatorName) == (*ESTIMATORS, "trained")
    assert FitSettings(match=CONFOUNDS).match == CONFOUNDS


def test_matching_is_on_record_with_its_price(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", made_up_layout(12))
    reporter = SilentReporter()
    vector = fit(tmp_path / "a.h5", FitSettings(match=("length",), bootstrap=10), "t", reporter)
    confounds = vector.evidence["confounds"]
    assert confounds["matched"] == ["log length"]
    assert 0 < confounds["effective_pairs"] <= 12
    assert len(confounds["explained"]) == len(confounds["cosine_with_unmatched"]) == 3
    assert any(note.startswith("matched on log length: 12 pairs are worth") for note in reporter.notes)
    plain = fit(tmp_path / "a.h5", FitSettings(bootstrap=0), "t", SilentReporter())
    # Pair n's answers are 1 + 2n and 2 + 2n tokens long, and each mean place is half a token further on.
    with pytest.raises(ConfigError, match=r"position differs by the same amount \(0\.5\) in every pair"):
        fit(tmp_path / "a.h5", FitSettings(match=("position",)), "t", SilentReporter())
    for row in range(3):
        one, other = vector.directions_LD[row], plain.directions_LD[row]
        expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert confounds["cosine_with_unmatched"][row] == pytest.approx(expected, abs=1e-4)


def test_other_traits_are_taken_out_and_the_price_is_told(activations: Path, tmp_path: Path) -> None:
    emoji = fit(activations, FitSettings(bootstrap=0, positions="emoji"), "emoji", SilentReporter())
    write_vector(tmp_path / "emoji.safetensors", emoji)
    settings = FitSettings(bootstrap=10, project_out_mean=True, orthogonal_to=(tmp_path / "emoji.safetensors",))
    reporter = SilentReporter()
    vector = fit(activations, settings, "t", reporter)
    taken = vector.evidence["taken_out"]
    assert taken["shared_mean"] is True
    assert all(0 < share < 1 for share in taken["norm_kept"])
    assert len(taken["cosine"]["emoji"]) == len(taken["held_out_auroc_before"]) == 3
    for row in range(3):
        assert abs(vector.directions_LD[row] @ emoji.directions_LD[row]) < 1e-5
    assert any(note.startswith("taking out keeps") for note in reporter.notes)
    (tmp_path / "more").mkdir()
    write_vector(tmp_path / "more" / "emoji.safetensors", emoji)
    twice = FitSettings(orthogonal_to=(tmp_path / "emoji.safetensors", tmp_path / "more" / "emoji.safetensors"))
    with pytest.raises(ConfigError, match="two vectors are called 'emoji'"):
        fit(activations, twice, "t", SilentReporter())


def test_layers_where_nothing_is_found_are_counted(activations: Path) -> None:
    reporter = SilentReporter()
    fit(activations, FitSettings(bootstrap=50), "t", reporter)  # both arms are noise
    assert any("no longer than pairs with their arms swapped" in note for note in reporter.notes)


def test_the_trained_estimator_through_the_stage(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "model")
    where = ModelSettings(path=str(folder), device="cpu")
    entries = {pair.name: {"a_response": pair.chosen, "b_response": pair.rejected} for pair in tiny.pairs()}
    (tmp_path / "filtered.json").write_text(json.dumps(entries), encoding="utf-8")
    pairs = PairsFile(tmp_path / "filtered.json", "a_response", "b_response")
    extract(pairs, where, ExtractSettings(token_budget=1024), tmp_path / "a.h5", SilentReporter())
    train = TrainSettings(steps=2, check_every=1, batch_size=2)
    settings = FitSettings(estimator="trained", layers=(1,), train=train, bootstrap=5)
    vector = fit_trained(tmp_path / "a.h5", pairs, where, settings, "emoji", SilentReporter())
    start = fit(tmp_path / "a.h5", FitSettings(bootstrap=0), "emoji", SilentReporter())
    assert (vector.layers, vector.estimator, vector.trait) == ((1,), "trained", "emoji")
    assert vector.evidence["training"]["start"] == "mean_diff"
    assert vector.evidence["norm"] == pytest.approx([np.linalg.norm(start.direction_D(1))])
    assert vector.residual_norm(1) == pytest.approx(start.residual_norm(1))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"estimator": "trained"}, "needs 'layers'"),
        ({"layers": (1,)}, "'layers' is of the estimator 'trained'; 'mean_diff' is estimated at all of them"),
        ({"estimator": "best"}, "mean_diff"),
        ({"match": ("topic",)}, "position"),
        ({"seed": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        FitSettings.model_validate(settings)
