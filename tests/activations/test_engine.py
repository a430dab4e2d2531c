from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from steer_llama.activations import Existing, extract_pairs
from steer_llama.config import ExtractSettings, FitSettings, ModelSettings
from steer_llama.errors import ConfigError, ConflictError, ContextLengthError, FileError, LayerError, ModelError
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.lm.packing import Blocks, FusedBlocks
from steer_llama.lm.reading import Conversation, PackedReader, Pooled, Wanted
from steer_llama.lm.reading.alone import AloneReader
from steer_llama.progress import SilentReporter
from steer_llama.records import Pair
from steer_llama.stages.fit import fit
from steer_llama.vectors import read_vector, write_vector
from tests.activations import tiny


def pair(chosen: str, rejected: str, name: str = "odd") -> Pair:
    return Pair(prompt=({"role": "user", "content": "Q"},), chosen=chosen, rejected=rejected, name=name)


def extract(model: LanguageModel, pairs: list[Pair], path: Path, **settings: object) -> list[str]:
    reporter = SilentReporter()
    extract_pairs(PackedReader(model, 1024), pairs, ExtractSettings.model_validate(settings), path, reporter)
    return reporter.notes


def test_the_layout(tiny_model: LanguageModel, tmp_path: Path) -> None:
    names = ["plain", "emoji 😀", "", "a\0b", "x" * 5000]
    pairs = [replaced.model_copy(update={"name": name}) for replaced, name in zip(tiny.pairs(5), names, strict=True)]
    extract(tiny_model, pairs, tmp_path / "a.h5", save_every=2)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        shape = (5, tiny_model.n_layers, tiny_model.width)
        assert sorted(file) == [
            "answers",
            "layers",
            "means",
            "pairs",
            "pairs_done",
            "reading_order",
            "residual_norm",
            "token_budget",
        ]
        assert list(file["pairs/name"].asstr()) == [name.replace("\0", "\ufffd") for name in names]
        assert list(file["layers"]) == [0, 1, 2]
        assert sorted(file["means"]) == ["emoji", "markdown", "response"]
        for positions in file["means"]:
            for arm in ("chosen", "rejected"):
                means, tokens = file[f"means/{positions}/{arm}"], file[f"means/{positions}/{arm}_tokens"]
                assert (means.shape, means.dtype, tokens.shape) == (shape, np.float32, (5,))
                assert ((means[:] == 0).all(axis=(1, 2)) == (tokens[:] == 0)).all()
        assert file.attrs["model_fingerprint"] == tiny_model.fingerprint
        assert file.attrs["dtype"] == "float32"
        assert (file.attrs["model_type"], file.attrs["revision"]) == ("llama", "")
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


def test_some_layers_alone(tiny_model: LanguageModel, tmp_path: Path) -> None:
    extract(tiny_model, tiny.pairs(), tmp_path / "all.h5", tokens=True)
    extract(tiny_model, tiny.pairs(), tmp_path / "two.h5", tokens=True, layers=(2, 0, 2))
    with h5py.File(tmp_path / "all.h5", "r") as every, h5py.File(tmp_path / "two.h5", "r") as two:
        assert list(two["layers"]) == [0, 2]
        for name in ("means/emoji/chosen", "means/response/rejected", "tokens/chosen/values", "residual_norm/chosen"):
            np.testing.assert_array_equal(two[name], every[name][:, [0, 2]])
    settings = FitSettings(bootstrap=5, positions="chosen=emoji,rejected=response")
    every, two = (fit(tmp_path / name, settings, "t", SilentReporter()) for name in ("all.h5", "two.h5"))
    assert two.layers == (0, 2)
    np.testing.assert_array_equal(two.directions_LD, every.directions_LD[[0, 2]])
    assert two.residual_norm_L is not None
    assert every.residual_norm_L is not None
    np.testing.assert_array_equal(two.residual_norm_L, every.residual_norm_L[[0, 2]])
    write_vector(tmp_path / "two", two)
    assert read_vector(tmp_path / "two").layers == (0, 2)
    two.check_fits(tiny_model.name, tiny_model.fingerprint, 3, 32)


def test_a_layer_that_the_model_does_not_have(tiny_model: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="3"):
        extract(tiny_model, tiny.pairs(2), tmp_path / "a.h5", layers=(1, 3))
    assert list(tmp_path.iterdir()) == []


class Stopping(PackedReader):
    """Reads some batches, then fails."""

    left = 2

    def read(self, conversations: Sequence[Conversation], wanted: Wanted) -> list[Pooled]:
        if not self.left:
            raise ModelError("enough")
        self.left -= 1
        return super().read(conversations, wanted)


class Unread(PackedReader):
    def read(self, conversations: Sequence[Conversation], wanted: Wanted) -> list[Pooled]:
        raise AssertionError("the model was run")


def run(reader: PackedReader, path: Path, existing: Existing = "refuse", **settings: object) -> list[str]:
    reporter = SilentReporter()
    chosen = ExtractSettings.model_validate({"save_every": 1, **settings})
    extract_pairs(reader, tiny.pairs(), chosen, path, reporter, existing=existing)
    return reporter.notes


@pytest.mark.parametrize("asked", [None, 4096])
def test_the_first_runs_batches_are_kept(tiny_model: LanguageModel, tmp_path: Path, asked: int | None) -> None:
    run(PackedReader(tiny_model, 100), tmp_path / "whole.h5")
    with pytest.raises(ModelError, match="enough"):
        run(Stopping(tiny_model, 100), tmp_path / "a.h5")
    notes = run(PackedReader(tiny_model, 2048), tmp_path / "a.h5", token_budget=asked)
    assert any("going on after" in note for note in notes)
    assert any("batches of 100 tokens, as the run that began" in note for note in notes) == (asked is not None)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    run(PackedReader(tiny_model, 2048), tmp_path / "other.h5", token_budget=asked)
    assert (tmp_path / "other.h5").read_bytes() != (tmp_path / "whole.h5").read_bytes()


def test_a_finished_file_is_not_read_again(tiny_model: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    run(PackedReader(tiny_model, 100), path)
    before = path.read_bytes()
    for reader in (Unread(tiny_model, 100), Unread(tiny_model, 2048)):
        assert run(reader, path)[-1].endswith(
            "a.h5 is finished: it holds these pairs, read with these settings. Nothing to do."
        )
    with pytest.raises(ConflictError, match=r"positions response,emoji,markdown, now response,emoji"):
        run(Unread(tiny_model, 100), path, positions=("emoji",))
    assert path.read_bytes() == before
    run(PackedReader(tiny_model, 100), path, "overwrite", positions=("emoji",))
    assert path.read_bytes() != before


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


def test_a_file_begun_in_another_order_does_not_go_on(
    tiny_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pairs = tmp_path / "a.h5", tiny.pairs(6)
    reader = PackedReader(tiny_model, 100)
    kept = reader.read
    reads = iter(range(2))
    monkeypatch.setattr(reader, "read", lambda *what: kept(*what) if next(reads, None) is not None else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extract_pairs(reader, pairs, ExtractSettings(save_every=1), path, SilentReporter())
    with pytest.raises(ConflictError, match=r"other batches.*--overwrite"):
        extract_pairs(AloneReader(tiny_model, "so"), pairs, ExtractSettings(save_every=1), path, SilentReporter())
    other = ExtractSettings(save_every=1, backend="transformer_lens")
    with pytest.raises(ConflictError, match=r"backend transformers, now transformer_lens"):
        extract_pairs(AloneReader(tiny_model, "so"), pairs, other, path, SilentReporter())


def begun(model: LanguageModel, path: Path, monkeypatch: pytest.MonkeyPatch, blocks: Blocks | None = None) -> None:
    """Two batches of six pairs, and then a stop."""
    reader = PackedReader(model, 100, blocks=blocks)
    kept, reads = reader.read, iter(range(2))
    monkeypatch.setattr(reader, "read", lambda *what: kept(*what) if next(reads, None) is not None else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extract_pairs(reader, tiny.pairs(6), ExtractSettings(save_every=1), path, SilentReporter())


def test_a_file_begun_by_another_engine_does_not_go_on(
    tiny_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pairs, settings = tmp_path / "a.h5", tiny.pairs(6), ExtractSettings(save_every=1)
    begun(tiny_model, path, monkeypatch, FusedBlocks(tiny_model))
    with pytest.raises(ConflictError, match=r"another engine"):
        extract_pairs(PackedReader(tiny_model, 100), pairs, settings, path, SilentReporter())
    again = PackedReader(tiny_model, 100, blocks=FusedBlocks(tiny_model))
    assert extract_pairs(again, pairs, settings, path, SilentReporter()) == 6


@pytest.mark.parametrize("existing", ["replace", "overwrite"])
def test_or_is_begun_anew_where_it_may_be_replaced(
    tiny_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: Existing
) -> None:
    path, pairs, settings = tmp_path / "a.h5", tiny.pairs(6), ExtractSettings(save_every=1)
    begun(tiny_model, path, monkeypatch, FusedBlocks(tiny_model))
    extract_pairs(PackedReader(tiny_model, 100), pairs, settings, path, SilentReporter(), existing=existing)
    extract_pairs(PackedReader(tiny_model, 100), pairs, settings, tmp_path / "whole.h5", SilentReporter())
    assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_budget_that_was_too_much_can_be_lowered(
    tiny_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lower = tmp_path / "a.h5", ExtractSettings(save_every=1, token_budget=60)
    reader = PackedReader(tiny_model, 2048)
    monkeypatch.setattr(reader, "read", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # before the first pair
        extract_pairs(reader, tiny.pairs(6), ExtractSettings(), path, SilentReporter())
    extract_pairs(PackedReader(tiny_model, 60), tiny.pairs(6), lower, path, SilentReporter())
    with h5py.File(path, "r") as file:
        assert file["token_budget"][0] == 60
    later, six = tmp_path / "later.h5", tmp_path / "six.h5"
    begun(tiny_model, later, monkeypatch)
    small = PackedReader(tiny_model, 60)
    extract_pairs(small, tiny.pairs(6), lower, later, SilentReporter(), existing="overwrite")
    extract_pairs(small, tiny.pairs(6), lower, six, SilentReporter())
    assert later.read_bytes() == six.read_bytes()
