import json
import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from steer_llama.activations import Existing, encode_pair
from steer_llama.config import ExtractSettings, ModelSettings, StoreSettings
from steer_llama.errors import ConfigError, ConflictError, StorageError
from steer_llama.lm.load import load_model
from steer_llama.progress import SilentReporter
from steer_llama.records import Turn
from steer_llama.stages.conversations import PairsFile
from steer_llama.stages.extract import extract
from steer_llama.stages.extraction_log import NAME
from tests.activations import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("model"))


@pytest.fixture
def filtered(tmp_path: Path) -> Path:
    entries = {p.name: {"pi_response": p.chosen, "llama_response": p.rejected} for p in tiny.pairs(4)}
    entries["empty"] = {"pi_response": "", "llama_response": "x"}
    (tmp_path / "filtered.json").write_text(json.dumps(entries), encoding="utf-8")
    return tmp_path / "filtered.json"


def run(
    pairs: Path,
    model: Path,
    out: Path,
    *,
    settings: ExtractSettings | None = None,
    system_prompt: str = "",
    examples: Sequence[Turn] = (),
    store: StoreSettings | None = None,
    existing: Existing = "refuse",
) -> list[str]:
    reporter = SilentReporter()
    file = PairsFile(pairs, system_prompt=system_prompt, examples=examples)
    where = ModelSettings(path=str(model), device="cpu")
    asked = settings or ExtractSettings(token_budget=1024)
    extract(file, where, asked, out, reporter, store=store, existing=existing)
    return reporter.notes


def test_filtered_pairs(filtered: Path, folder: Path, tmp_path: Path) -> None:
    notes = run(filtered, folder, tmp_path / "a.h5")
    assert any("1 pairs kept out: 'empty' (the chosen answer is empty)" in note for note in notes)
    assert any(note.startswith("4 pairs × 3 layers × 32 wide") for note in notes)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert list(file["pairs/name"].asstr()) == [f"Question {n}" for n in range(4)]


def test_dpo_rows_give_the_same(filtered: Path, folder: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": question, "chosen": entry["pi_response"], "rejected": entry["llama_response"]}
        for question, entry in json.loads(filtered.read_text()).items()
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(filtered, folder, tmp_path / "a.h5")
    run(tmp_path / "rows.jsonl", folder, tmp_path / "b.h5")
    with h5py.File(tmp_path / "a.h5", "r") as a, h5py.File(tmp_path / "b.h5", "r") as b:
        np.testing.assert_array_equal(a["means/response/chosen"][:], b["means/response/chosen"][:])


def test_the_target_is_read_after_its_own_prompt(filtered: Path, folder: Path, tmp_path: Path) -> None:
    run(filtered, folder, tmp_path / "a.h5")
    examples = (Turn(user="Hello?", assistant="Hi there"),)
    run(filtered, folder, tmp_path / "b.h5", system_prompt="Be plain", examples=examples)
    model = load_model(ModelSettings(path=str(folder), device="cpu"), SilentReporter())
    prompt = (
        {"role": "system", "content": "Be plain"},
        {"role": "user", "content": "Hello?"},
        {"role": "assistant", "content": "Hi there"},
        {"role": "user", "content": "Question 0"},
    )
    expected = encode_pair(model, tiny.pairs(1)[0].model_copy(update={"prompt": prompt}))
    with h5py.File(tmp_path / "a.h5", "r") as a, h5py.File(tmp_path / "b.h5", "r") as b:
        assert (
            b["pairs/chosen_response_start"][0] == expected.chosen.response_start > a["pairs/chosen_response_start"][0]
        )
        assert (a["means/response/chosen_tokens"][:] == b["means/response/chosen_tokens"][:]).all()
        assert not np.allclose(a["means/response/chosen"][:], b["means/response/chosen"][:])


def test_what_is_wrong_is_said_before_the_model_is_loaded(filtered: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "no model"
    with pytest.raises(StorageError, match="it is a folder"):
        run(filtered, nowhere, tmp_path)
    with pytest.raises(ConfigError, match="'emojis': unknown"):
        extract(
            PairsFile(filtered),
            ModelSettings(path=str(nowhere)),
            ExtractSettings(positions=("emojis",)),
            tmp_path / "a.h5",
            SilentReporter(),
        )


def test_the_log(filtered: Path, folder: Path, tmp_path: Path) -> None:
    notes = run(filtered, folder, tmp_path / "a.h5", settings=ExtractSettings(save_every=2), system_prompt="Be plain")
    assert notes[-1] == f"log: {tmp_path / NAME}"
    log = (tmp_path / NAME).read_text(encoding="utf-8")
    for said in (
        r"INFO - steer-llama .* extract: .*filtered\.json → .*a\.h5",
        r"INFO - model: \{.*\"device\":\"cpu\"",
        r"INFO - extract: \{\"positions\":.*\"save_every\":2",
        r"INFO - output: \{\"layout\":\"pooled\"",
        r"INFO - 4 pairs in .*; system prompt 'Be plain'; 0 example turns",
        r"INFO - 1 pairs kept out: 'empty' \(the chosen answer is empty\)",
        r"INFO - .*float32 on cpu",
        r"INFO - begun: .*a\.h5, 4 pairs, fingerprint [0-9a-f]{64}",
        r"INFO - .*batch.* of at most \d+ tokens",
        r"INFO - saved: 2 of 4 pairs, \d+\.\d s, \d+ tokens/s",
        r"INFO - saved: 4 of 4 pairs",
        r"INFO - 4 pairs × 3 layers × 32 wide",
        r"INFO - done$",
    ):
        assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - " + said, log, re.MULTILINE), said
    again = run(filtered, folder, tmp_path / "a.h5", settings=ExtractSettings(save_every=2), system_prompt="Be plain")
    assert any(note.endswith("Nothing to do.") for note in again)
    assert (tmp_path / NAME).read_text(encoding="utf-8").startswith(log)


def test_an_input_that_is_refused_leaves_no_log(filtered: Path, folder: Path, tmp_path: Path) -> None:
    run(filtered, folder, tmp_path / "a.h5")
    (tmp_path / NAME).unlink()
    with pytest.raises(ConflictError, match="layers 0-2, now 1"):
        run(filtered, folder, tmp_path / "a.h5", settings=ExtractSettings(layers=(1,)))
    assert not (tmp_path / NAME).exists()
    notes = run(filtered, folder, tmp_path / "a.h5", settings=ExtractSettings(layers=(1,)), existing="replace")
    assert any(note.startswith("4 pairs × 1 layers × 32 wide") for note in notes)


def test_what_is_asked_for_and_not_used_is_said(filtered: Path, folder: Path, tmp_path: Path) -> None:
    compressed = StoreSettings(compression="gzip")
    assert any("compression gzip is not used" in n for n in run(filtered, folder, tmp_path / "a.h5", store=compressed))
    assert not any("not used" in note for note in run(filtered, folder, tmp_path / "b.h5", store=StoreSettings()))
    samples = StoreSettings(layout="per_sample", compression="gzip")
    positions = ExtractSettings(positions=("emoji",))
    notes = run(filtered, folder, tmp_path / "c.h5", store=samples, settings=positions)
    assert [note.split(":")[0] for note in notes if "not used" in note] == ["positions are not used"]
    with h5py.File(tmp_path / "c.h5", "r") as file:
        assert len(file["activations"]) == 8
