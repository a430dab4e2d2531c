from pathlib import Path

import h5py
import numpy as np
import pytest

from steer_llama.activations import Averaged, PositionChoice, encode_pair, masks_of, measure_confounds, open_activations
from steer_llama.errors import ConfigError
from steer_llama.lm.load import LanguageModel
from tests.activations import tiny
from tests.activations.test_engine import extract
from tests.activations.test_per_sample import extract as extract_seeds


def answer(places: list[int], ids: list[int] | None = None, length: int = 20) -> Averaged:
    return Averaged(np.array(places), None if ids is None else np.array(ids, np.int32), length)


def test_the_file_says_which_tokens_were_averaged(tiny_model: LanguageModel, tmp_path: Path) -> None:
    pairs = tiny.pairs()
    extract(tiny_model, pairs, tmp_path / "a.h5")
    for chosen, rejected in (("response", "response"), ("emoji", "response"), ("markdown", "emoji")):
        with open_activations(tmp_path / "a.h5", PositionChoice(chosen, rejected)) as data:
            for a, (arm, name) in enumerate((("chosen", chosen), ("rejected", rejected))):
                found = data.averaged(arm)
                assert len(found) == len(pairs)
                for pair, here in zip(pairs, found, strict=True):
                    encoded = encode_pair(tiny_model, pair)
                    tokens = encoded.arms[a]
                    mask, response = masks_of(tokens, encoded.divergence, (name, "response"))
                    places = np.flatnonzero(mask if mask.any() else response)
                    np.testing.assert_array_equal(here.places_T, places - tokens.response_start)
                    np.testing.assert_array_equal(here.ids_T, np.array(tokens.ids)[places])
                    assert here.answer_length == len(tokens.ids) - tokens.response_start


def test_a_file_of_version_2_is_read_and_says_that_it_does_not_know(tiny_model: LanguageModel, tmp_path: Path) -> None:
    extract(tiny_model, tiny.pairs(), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["answers"]
        file.attrs["version"] = 2
    with open_activations(tmp_path / "a.h5", PositionChoice("response", "response")) as data:
        assert data.means("chosen", 0).shape[0] == len(tiny.pairs())
        with pytest.raises(ConfigError, match="does not say which tokens were averaged"):
            data.averaged("chosen")


def test_the_seeds_layout_knows_positions_and_no_tokens(tiny_model: LanguageModel, tmp_path: Path) -> None:
    extract(tiny_model, tiny.pairs(), tmp_path / "ours.h5")
    extract_seeds(tiny_model, tiny.pairs(), tmp_path / "seeds.h5")
    for positions in ("response", "divergence"):
        choice = PositionChoice(positions, positions)
        for arm in ("chosen", "rejected"):
            with open_activations(tmp_path / "seeds.h5", choice) as data:
                found = data.averaged(arm)
            if positions == "response":
                with open_activations(tmp_path / "ours.h5", choice) as data:
                    expected = data.averaged(arm)
                for one, other in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(one.places_T, other.places_T)
                    assert one.answer_length == other.answer_length
            else:
                assert {len(each.places_T) for each in found} == {1}
            assert found[0].ids_T is None


def test_positions_and_lengths() -> None:
    chosen = [answer([0, 1, 5]), answer([7], length=8)]
    rejected = [answer([0]), answer([3, 4], length=100)]
    found = measure_confounds(chosen, rejected, ("position", "length", "position"))
    assert found.names == ("position", "log position", "log length")
    np.testing.assert_allclose(found.chosen_NK[0], [2, (np.log(2) + np.log(6)) / 3, np.log(20)])
    np.testing.assert_allclose(found.rejected_NK[1], [3.5, (np.log(4) + np.log(5)) / 2, np.log(100)])
    with pytest.raises(ConfigError, match=r"'topic': unknown\. There are: position, length, token"):
        measure_confounds(chosen, rejected, ("topic",))


def test_token_shares_of_what_both_arms_use() -> None:
    random = np.random.default_rng(0)
    chosen = [answer([0] * 10, [1] * n + [2] * (9 - n) + [99]) for n in random.integers(0, 9, 40)]
    rejected = [answer([0] * 10, [1] * n + [2] * (10 - n)) for n in random.integers(0, 9, 40)]
    found = measure_confounds(chosen, rejected, ("token",))
    assert found.names == ("token axis 1", "token axis 2", "token axis 3", "token axis 4")[: len(found.names)]
    shares = np.array([[np.mean(each.ids_T == token) for token in (1, 2)] for each in chosen])
    residuals = np.linalg.lstsq(np.c_[found.chosen_NK], shares, rcond=None)[1]
    np.testing.assert_allclose(residuals, 0, atol=1e-20)
    alone = [answer([0], [5])] * 40
    assert measure_confounds(alone, [answer([0], [6])] * 40, ("token",)).names == ()
    with pytest.raises(ConfigError, match="does not hold the tokens"):
        measure_confounds([answer([0])], [answer([0])], ("token",))
