"""The seed's layout: every answer token as a hook sees it, and the vector that our own layout gives."""

import errno
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from steer_llama.activations import extract_pairs, per_sample, writer
from steer_llama.activations.sparse import SpillingFile
from steer_llama.config import ExtractSettings, FitSettings, ModelSettings, StoreSettings
from steer_llama.errors import ConflictError, StorageError
from steer_llama.lm.load import LanguageModel, load_model
from steer_llama.lm.reading import PackedReader
from steer_llama.progress import SilentReporter
from steer_llama.records import Pair
from steer_llama.stages.fit import fit
from tests.activations import tiny
from tests.activations.reference import Reference

SAMPLES = StoreSettings(layout="per_sample")


def extract(
    model: LanguageModel, pairs: list[Pair], path: Path, store: StoreSettings = SAMPLES, **settings: object
) -> list[str]:
    reporter = SilentReporter()
    chosen = ExtractSettings.model_validate(settings)
    extract_pairs(PackedReader(model, 1024), pairs, chosen, path, reporter, store=store)
    return reporter.notes


def alike(count: int = 6) -> list[Pair]:
    """Pairs whose answers begin alike, so that the divergence comes later than the answer."""
    return [
        pair.model_copy(update={"rejected": pair.chosen[: 3 + n] + " else"}) for n, pair in enumerate(tiny.pairs(count))
    ]


def test_every_answer_token_as_a_hook_sees_it(tiny_model: LanguageModel, tiny_folder: Path, tmp_path: Path) -> None:
    pairs, reference = [*tiny.pairs(4), *alike(3)], Reference(tiny_folder)
    extract(tiny_model, pairs, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert sorted(file) == ["activations", "metadata"]
        assert len(file["metadata"]) == len(pairs)
        assert len(file["activations"]) == 2 * len(pairs)
        for n, pair in enumerate(pairs):
            facts, ids_of = file[f"metadata/sample_{n}"].attrs, {}
            assert facts["prompt"] == pair.name
            for arm, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
                ids, spans, begin, end = reference.tokens(pair, answer)
                ids_of[arm] = ids
                inside = [i for i, (a, b) in enumerate(spans) if b > begin and a < end]
                hidden_LTD = reference.residuals(ids)[:, inside]
                assert facts["response_start_idx"] == inside[0]
                assert facts[f"{arm}_length"] == inside[-1] + 1
                group = file[f"activations/sample_{n}_{arm}"]
                assert sorted(group) == [f"blocks.{layer}.hook_resid_post" for layer in range(3)]
                for layer in range(3):
                    stored = group[f"blocks.{layer}.hook_resid_post"]
                    assert (stored.dtype, stored.shape) == (np.float32, (1, len(inside), 32))
                    assert (stored.compression, stored.compression_opts) == ("gzip", 4)
                    far = np.linalg.norm(stored[0] - hidden_LTD[layer], axis=1)
                    assert (far <= 1e-5 * np.linalg.norm(hidden_LTD[layer], axis=1)).all()
            both = zip(ids_of["chosen"], ids_of["rejected"], strict=False)
            assert facts["divergence_index"] == next(i for i, (a, b) in enumerate(both) if a != b)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("positions", ["response", "divergence"])
def test_the_vector_is_that_of_our_own_layout(tiny_model: LanguageModel, tmp_path: Path, positions: str) -> None:
    other_prompt = ({"role": "user", "content": "Quite another question, and a longer one"},)
    first = tiny.pairs(1)[0]
    # A second turn: the conversations still agree where the chosen answer has begun, and the rejected one has not.
    turn = {"role": "assistant", "content": first.chosen[:9] + " and more"}
    odd = [
        first.model_copy(update={"rejected_prompt": prompt})
        for prompt in (other_prompt, (first.prompt[0], turn, first.prompt[0]))
    ]
    pairs = [*tiny.pairs(), *alike(), *odd]
    extract(tiny_model, pairs, tmp_path / "ours.h5", StoreSettings(), positions=("response", "divergence"))
    extract(tiny_model, pairs, tmp_path / "seeds.h5")
    settings = FitSettings(bootstrap=5, positions=positions)
    ours, seeds = (fit(tmp_path / name, settings, "t", SilentReporter()) for name in ("ours.h5", "seeds.h5"))
    assert (seeds.layers, seeds.model, seeds.model_fingerprint) == (ours.layers, ours.model, ours.model_fingerprint)
    for row in range(3):
        far = np.linalg.norm(seeds.directions_LD[row] - ours.directions_LD[row])
        assert far < 1e-6 * np.linalg.norm(ours.directions_LD[row])
    assert seeds.residual_norm_L is not None
    assert ours.residual_norm_L is not None
    np.testing.assert_allclose(seeds.residual_norm_L, ours.residual_norm_L, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_types_are_widened_exactly(tiny_folder: Path, tmp_path: Path, dtype: str) -> None:
    model = load_model(ModelSettings.model_validate({"path": str(tiny_folder), "dtype": dtype}), SilentReporter())
    extract(model, tiny.pairs(3), tmp_path / "ours.h5", StoreSettings(), tokens=True)
    extract(model, tiny.pairs(3), tmp_path / "seeds.h5")
    with h5py.File(tmp_path / "ours.h5", "r") as ours, h5py.File(tmp_path / "seeds.h5", "r") as seeds:
        begin, end = ours["tokens/chosen/offsets"][:2]
        raw = torch.from_numpy(ours["tokens/chosen/values"][begin:end, 2])
        expected = (raw.view(torch.bfloat16) if dtype == "bfloat16" else raw).float().numpy()
        np.testing.assert_array_equal(seeds["activations/sample_0_chosen/blocks.2.hook_resid_post"][0], expected)


@pytest.mark.parametrize(("compression", "opts"), [("gzip", 9), ("lzf", None), (None, None)])
def test_the_compression_that_was_asked_for(
    tiny_model: LanguageModel, tmp_path: Path, compression: Any, opts: int | None
) -> None:
    store = StoreSettings(layout="per_sample", compression=compression, compression_opts=opts)
    extract(tiny_model, tiny.pairs(2), tmp_path / "a.h5", store)
    extract(tiny_model, tiny.pairs(2), tmp_path / "b.h5")
    name = "activations/sample_1_rejected/blocks.1.hook_resid_post"
    with h5py.File(tmp_path / "a.h5", "r") as a, h5py.File(tmp_path / "b.h5", "r") as b:
        assert (a[name].compression, a[name].compression_opts) == (compression, opts)
        np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_an_answer_of_several_chunks(
    tiny_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: Any
) -> None:
    store = StoreSettings(layout="per_sample", compression=compression)
    extract(tiny_model, tiny.pairs(), tmp_path / "one.h5", store)
    monkeypatch.setattr(per_sample, "_CHUNK", 3 * 32 * 4)
    monkeypatch.setattr(per_sample, "_CORES", 2)
    extract(tiny_model, tiny.pairs(), tmp_path / "many.h5", store)
    with h5py.File(tmp_path / "one.h5", "r") as one, h5py.File(tmp_path / "many.h5", "r") as many:
        for name in one["activations"]:
            for layer in one["activations"][name]:
                stored = many["activations"][name][layer]
                assert stored.chunks == (1, min(3, stored.shape[1]), 32)
                np.testing.assert_array_equal(stored, one["activations"][name][layer])


def test_the_room_for_both_files_is_asked_for(
    tiny_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "free_bytes", lambda path: 50_000)
    extract(tiny_model, tiny.pairs(3), tmp_path / "a.h5", StoreSettings(), tokens=True)
    with pytest.raises(StorageError, match=r"needs 0\.00 GB, but only 0\.00 GB are free there"):
        extract(tiny_model, tiny.pairs(3), tmp_path / "b.h5", StoreSettings(layout="per_sample", compression=None))
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_some_layers_alone(tiny_model: LanguageModel, tmp_path: Path) -> None:
    extract(tiny_model, tiny.pairs(3), tmp_path / "all.h5")
    extract(tiny_model, tiny.pairs(3), tmp_path / "two.h5", layers=(2, 0))
    with h5py.File(tmp_path / "all.h5", "r") as every, h5py.File(tmp_path / "two.h5", "r") as two:
        group = two["activations/sample_2_chosen"]
        assert sorted(group) == ["blocks.0.hook_resid_post", "blocks.2.hook_resid_post"]
        for name in group:
            np.testing.assert_array_equal(group[name], every["activations/sample_2_chosen"][name])


def test_the_same_file_at_another_time(tiny_model: LanguageModel, tmp_path: Path) -> None:
    extract(tiny_model, tiny.pairs(3), tmp_path / "a.h5")
    time.sleep(1.1)
    extract(tiny_model, tiny.pairs(3), tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert any("Nothing to do" in note for note in extract(tiny_model, tiny.pairs(3), tmp_path / "a.h5"))
    with pytest.raises(ConflictError, match="layout per_sample, now pooled; positions answer, now response,"):
        extract(tiny_model, tiny.pairs(3), tmp_path / "a.h5", StoreSettings())


def test_a_long_name_and_a_nul(tiny_model: LanguageModel, tmp_path: Path) -> None:
    names = ["a\0b 😀", "x" * 300_000]
    pairs = [pair.model_copy(update={"name": name}) for pair, name in zip(tiny.pairs(2), names, strict=True)]
    extract(tiny_model, pairs, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert [file[f"metadata/sample_{n}"].attrs["prompt"] for n in range(2)] == ["a\ufffdb 😀", "x" * 300_000]


def test_the_seeds_file_is_written_in_little_memory(
    tiny_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(tiny_model, tiny.pairs(), tmp_path / "a.h5")
    monkeypatch.setattr(per_sample, "_HELD", 0)
    extract(tiny_model, tiny.pairs(), tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 1.0])
def test_a_disk_that_fills_up_keeps_what_was_read(
    tiny_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    extract(tiny_model, tiny.pairs(), tmp_path / "whole.h5")
    room = int(share * (tmp_path / "whole.h5").stat().st_size)

    class Full(SpillingFile):
        def spill(self) -> None:
            super().spill()
            if os.fstat(self._disk.fileno()).st_size >= room:
                raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="the disk is full"):
        patch.setattr(per_sample, "SpillingFile", Full)
        patch.setattr(per_sample, "_HELD", 10_000)
        extract(tiny_model, tiny.pairs(), tmp_path / "a.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5.partial", "whole.h5"]
    assert "going on after 12 pairs of an earlier run" in extract(tiny_model, tiny.pairs(), tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full(tiny_model: LanguageModel, tmp_path: Path) -> None:
    disk, store = tmp_path / "disk", StoreSettings(layout="per_sample", compression=None)
    disk.mkdir()
    extract(tiny_model, tiny.pairs(), tmp_path / "whole.h5", store)
    room = (tmp_path / "whole.h5").stat().st_size // 1024
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room * 3 // 2}k", "x", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        with pytest.raises(StorageError, match="the disk is full"):
            extract(tiny_model, tiny.pairs(), disk / "a.h5", store)
        assert [path.name for path in disk.iterdir()] == ["a.h5.partial"]
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert "going on after 12 pairs of an earlier run" in extract(tiny_model, tiny.pairs(), disk / "a.h5", store)
        assert (disk / "a.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
