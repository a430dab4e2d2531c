from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from steer_llama.activations import extract_pairs
from steer_llama.config import ExtractSettings, FitSettings, ModelSettings
from steer_llama.errors import ConfigError, ContextLengthError, FileError, ModelError
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.progress import SilentReporter
from steer_llama.records import Pair
from steer_llama.stages.fit import fit
from tests.activations import tiny


def pair(chosen: str, rejected: str, name: str = "odd") -> Pair:
    return Pair(prompt=({"role": "user", "content": "Q"},), chosen=chosen, rejected=rejected, name=name)


def extract(model: LanguageModel, pairs: list[Pair], path: Path, **settings: object) -> list[str]:
    reporter = SilentReporter()
    extract_pairs(model, pairs, ExtractSettings.model_validate(settings), path, reporter)
    return reporter.notes


def test_the_layout(tiny_model: LanguageModel, tmp_path: Path) -> None:
    names = ["plain", "emoji 😀", "", "a\0b", "x" * 5000]
    pairs = [replaced.model_copy(update={"name": name}) for replaced, name in zip(tiny.pairs(5), names, strict=True)]
    extract(tiny_model, pairs, tmp_path / "a.h5", save_every=2)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        shape = (5, tiny_model.n_layers, tiny_model.width)
        assert sorted(file) == ["layers", "means", "pairs", "pairs_done", "residual_norm"]
        assert list(file["pairs/name"].asstr()) == [name.replace("\0", "\ufffd") for name in names]
        assert list(file["layers"]) == [0, 1, 2]
        assert sorted(file["means"]) == ["divergence", "emoji", "markdown", "non_alphabetic", "response"]
        for positions in file["means"]:
            for arm in ("chosen", "rejected"):
                means, tokens = file[f"means/{positions}/{arm}"], file[f"means/{positions}/{arm}_tokens"]
                assert (means.shape, means.dtype, tokens.shape) == (shape, np.float32, (5,))
                assert ((means[:] == 0).all(axis=(1, 2)) == (tokens[:] == 0)).all()
        assert file.attrs["model_fingerprint"] == tiny_model.fingerprint
        assert file.attrs["dtype"] == "float32"
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize(("count", "save_every"), [(1, 10), (3, 10), (4, 2), (5, 2), (3, 1)])
def test_any_number_of_pairs_between_writes(
    tiny_model: LanguageModel, tmp_path: Path, count: int, save_every: int
) -> None:
    extract(tiny_model, tiny.pairs(count), tmp_path / "a.h5", save_every=save_every)
    extract(tiny_model, tiny.pairs(count), tmp_path / "b.h5", save_every=100)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    vector = fit(tmp_path / "a.h5", FitSettings(bootstrap=20), "t", SilentReporter())
    assert vector.evidence["pairs"] == count
    assert ("bootstrap_cosine" in vector.evidence) == (count > 1)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_single_tokens_give_the_means(tiny_folder: Path, tmp_path: Path, dtype: str) -> None:
    model = load_model(ModelSettings.model_validate({"path": str(tiny_folder), "dtype": dtype}), SilentReporter())
    extract(model, tiny.pairs(), tmp_path / "a.h5", tokens=True, save_every=5)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        for arm in ("chosen", "rejected"):
            values, offsets = file[f"tokens/{arm}/values"], file[f"tokens/{arm}/offsets"][:]
            assert values.attrs["dtype"] == dtype
            assert values.dtype == (np.uint16 if dtype == "bfloat16" else dtype)
            assert offsets[0] == 0
            assert (np.diff(offsets) == file[f"means/response/{arm}_tokens"][:]).all()
            assert values.shape == (offsets[-1], model.n_layers, model.width)
            for n, (begin, end) in enumerate(pairwise(offsets)):
                raw = values[begin:end]
                # bfloat16 is the upper half of a float32.
                numbers = (raw.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else raw
                np.testing.assert_allclose(
                    numbers.astype(np.float64).mean(axis=0), file[f"means/response/{arm}"][n], rtol=1e-5, atol=1e-5
                )


def test_answers_that_cannot_be_compared_are_kept_out_and_named(tiny_model: LanguageModel, tmp_path: Path) -> None:
    odd = [
        pair("Yes", "Yes", "same"),
        pair("Yes", "Yes. And no.", "a beginning"),
        pair("Yes. And no.", "Yes", "its other way round"),
        pair("", "Yes", "empty"),
    ]
    notes = extract(tiny_model, [*odd[:2], *tiny.pairs(2), *odd[2:]], tmp_path / "a.h5")
    assert any("4 pairs kept out" in note and all(repr(p.name) in note for p in odd) for note in notes), notes
    extract(tiny_model, tiny.pairs(2), tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with pytest.raises(FileError, match="none of the 4 pairs can be read: 0 too long, 4 "):
        extract(tiny_model, odd, tmp_path / "c.h5")
    assert not (tmp_path / "c.h5").exists()


def test_a_pair_that_is_too_long_stops_or_is_kept_out(tiny_model: LanguageModel, tmp_path: Path) -> None:
    long = pair("word " * 300, "short", "the long one")
    with pytest.raises(ContextLengthError, match=r"'the long one'.* tokens.* context is 256.*--skip-too-long"):
        extract(tiny_model, [*tiny.pairs(2), long], tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []
    notes = extract(tiny_model, [*tiny.pairs(2), long], tmp_path / "a.h5", skip_too_long=True)
    assert any("too long" in note and "'the long one'" in note for note in notes)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert len(file["pairs/name"]) == 2


def test_an_overflow_is_refused_at_once(tiny_model: LanguageModel, tmp_path: Path) -> None:
    layer = tiny_model.blocks[1]
    handle = layer.register_forward_hook(lambda module, inputs, output: output * torch.inf)
    try:
        with pytest.raises(ModelError, match=r"'Question 0': .*overflows in float32.*--dtype"):
            extract(tiny_model, tiny.pairs(2), tmp_path / "a.h5")
    finally:
        handle.remove()
    assert not (tmp_path / "a.h5").exists()


def test_an_unknown_mask_is_refused(tiny_model: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'emojis': unknown"):
        extract(tiny_model, tiny.pairs(1), tmp_path / "a.h5", positions=("emojis",))


def test_other_weights_or_texts_have_another_fingerprint(tiny_model: LanguageModel, tmp_path: Path) -> None:
    other = replace(tiny_model, fingerprint="0" * 64)
    changed = tiny.pairs(2)
    changed[1] = changed[1].model_copy(update={"chosen": "Other words"})
    prints = set()
    for number, (model, pairs, tokens) in enumerate(
        [(tiny_model, tiny.pairs(2), False), (other, tiny.pairs(2), False), (tiny_model, changed, False),
         (tiny_model, tiny.pairs(2), True)]
    ):  # fmt: skip
        extract(model, pairs, tmp_path / f"{number}.h5", tokens=tokens)
        with h5py.File(tmp_path / f"{number}.h5", "r") as file:
            prints.add(file.attrs["fingerprint"])
    assert len(prints) == 4
