"""The bar: what extract and fit give equals a slow float64 reference at every layer."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from steer_llama.activations import extract_pairs
from steer_llama.config import ExtractSettings, FitSettings
from steer_llama.lm.embedded import embedded_folder
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading import PackedReader
from steer_llama.progress import SilentReporter
from steer_llama.records import Pair
from steer_llama.stages.fit import fit
from tests.activations import tiny
from tests.activations.reference import Reference, worst_error

BAR = 1e-4
EMOJI = ["😀", "🎉", "😊", "🌞", "👨‍👩‍👧‍👦", "🇩🇪", "👍🏽", "1️⃣", "🙂", "🙃", "😴"]


def fitted(model: LanguageModel, pairs: list[Pair], path: Path) -> np.ndarray:
    extract_pairs(PackedReader(model, 1024), pairs, ExtractSettings(), path, SilentReporter())
    return fit(path, FitSettings(bootstrap=0), "t", SilentReporter()).directions_LD


def test_the_vector_of_a_random_llama(tiny_model: LanguageModel, tiny_folder: Path, tmp_path: Path) -> None:
    found_LD = fitted(tiny_model, tiny.pairs(), tmp_path / "a.h5")
    assert worst_error(found_LD, Reference(tiny_folder).vector(tiny.pairs())) < BAR / 10


@pytest.mark.slow
def test_the_vector_of_a_real_model(smollm2: LanguageModel, tmp_path: Path) -> None:
    pairs = [tiny.pairs()[n] for n in (0, 3, 4, 7)]
    found_LD = fitted(smollm2, pairs, tmp_path / "a.h5")
    assert worst_error(found_LD, Reference(embedded_folder(SilentReporter())).vector(pairs)) < BAR


def test_means_counts_and_places_of_every_pair(tiny_model: LanguageModel, tiny_folder: Path, tmp_path: Path) -> None:
    path, pairs, reference = tmp_path / "a.h5", tiny.pairs(), Reference(tiny_folder)
    settings = ExtractSettings(positions=("response", "divergence", "emoji"))
    extract_pairs(PackedReader(tiny_model, 1024), pairs, settings, path, SilentReporter())
    with h5py.File(path, "r") as file:
        for n, pair in enumerate(pairs):
            arms = reference.response(pair)
            for arm, answer, (ids, response) in zip(
                ("chosen", "rejected"), (pair.chosen, pair.rejected), arms, strict=True
            ):
                hidden_LTD = reference.residuals(ids)
                _, spans, begin, end = reference.tokens(pair, answer)
                inside = [i for i, (a, b) in enumerate(spans) if b > begin and a < end]
                assert file[f"pairs/{arm}_response_start"][n] == inside[0]
                assert file[f"pairs/{arm}_length"][n] == inside[-1] + 1
                emoji = [i for i in reference.marked(pair, answer, EMOJI) if i in response]
                for name, where in (("response", response), ("divergence", response[:1]), ("emoji", emoji)):
                    assert file[f"means/{name}/{arm}_tokens"][n] == len(where), (name, answer)
                    expected = hidden_LTD[:, where].mean(axis=1) if where else np.zeros_like(hidden_LTD[:, 0])
                    # A single number may be a small difference of large ones: what counts is the row's length.
                    far = np.linalg.norm(file[f"means/{name}/{arm}"][n] - expected, axis=1)
                    assert (far <= BAR / 10 * np.linalg.norm(expected, axis=1)).all(), (name, answer, far)
                norm_L = np.linalg.norm(hidden_LTD[:, response], axis=2).mean(axis=1)
                np.testing.assert_allclose(file[f"residual_norm/{arm}"][n], norm_L, rtol=1e-5)
            assert file["pairs/divergence_index"][n] == min(arms[0][1][0], arms[1][1][0])


def test_an_emoji_of_several_tokens_is_averaged_as_a_whole(tiny_model: LanguageModel, tmp_path: Path) -> None:
    pair = tiny.pairs()[0]
    extract_pairs(PackedReader(tiny_model, 1024), [pair], ExtractSettings(), tmp_path / "a.h5", SilentReporter())
    with h5py.File(tmp_path / "a.h5", "r") as file:
        # Its tokenizer has learnt the two bytes that most emoji begin with, and no whole one: 4 bytes are 3 tokens.
        assert file["means/emoji/chosen_tokens"][0] == 3
        assert file["means/emoji/rejected_tokens"][0] == 0


def test_the_residual_norm_weighs_tokens_not_pairs(
    tiny_model: LanguageModel, tiny_folder: Path, tmp_path: Path
) -> None:
    reference, pairs = Reference(tiny_folder), tiny.pairs(3)
    extract_pairs(PackedReader(tiny_model, 1024), pairs, ExtractSettings(), tmp_path / "a.h5", SilentReporter())
    vector = fit(tmp_path / "a.h5", FitSettings(bootstrap=0), "t", SilentReporter())
    norms = [
        np.linalg.norm(reference.residuals(ids)[:, where], axis=2)
        for pair in pairs
        for ids, where in reference.response(pair)
    ]
    assert vector.residual_norm_L is not None
    np.testing.assert_allclose(vector.residual_norm_L, np.concatenate(norms, axis=1).mean(axis=1), rtol=1e-5)
