"""From a vector to a folder: what is chosen, checked, told, and written on the card."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from steer_llama.config import ModelSettings
from steer_llama.errors import ConfigError, LayerError, ModelError, StorageError, VectorError
from steer_llama.lm.baking import writing
from steer_llama.lm.load import LanguageModel, load_fresh
from steer_llama.lm.steering import Steering, steering
from steer_llama.progress import SilentReporter
from steer_llama.stages.bake import Baked, bake
from steer_llama.vectors import SteeringVector
from tests.lm.models import save_tiny_llama

IDS = torch.tensor([[5, 9, 33, 7, 41, 12]])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = save_tiny_llama(tmp_path / "tiny")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny")
    return folder


def loaded(folder: Path) -> LanguageModel:
    return load_fresh(ModelSettings(path=str(folder), device="cpu"), SilentReporter())


def vector_for(model: Path, **changes: Any) -> SteeringVector:
    generator = np.random.default_rng(0)
    whole = SteeringVector(
        generator.standard_normal((3, 32)).astype(np.float32), (0, 1, 2), np.array([5, 10, 20], np.float32),
        model.name, loaded(model).fingerprint, "emoji", "mean_difference", "response",
        recommended_layer=1, recommended_strength=0.5,
    )  # fmt: skip
    return replace(whole, **changes)


def baked(model: Path, vector: SteeringVector, **how: Any) -> tuple[Baked, list[str]]:
    reporter = SilentReporter()
    settings = ModelSettings(path=str(model), device="cpu")
    return bake(vector, settings, model.parent / "baked", reporter, **how), reporter.notes


def logits(folder: Path, added: dict[int, np.ndarray]) -> torch.Tensor:
    model = loaded(folder)
    rows = [Steering(layer, torch.from_numpy(vector_D)) for layer, vector_D in added.items()]
    with torch.no_grad():
        if not rows:
            plain: torch.Tensor = model.hf(IDS).logits
            return plain
        (row,) = rows
        with steering(model, [row]):
            steered: torch.Tensor = model.hf(IDS).logits
        return steered


def test_the_recommendation_is_baked_and_verified(model: Path) -> None:
    vector = vector_for(model)
    done, notes = baked(model, vector)
    assert done.coefficients == {1: vector.coefficient(1, 0.5)}
    assert done.compared is not None
    assert done.compared.max_difference <= 1e-4
    assert done.compared.effect > 0.1
    assert any("max |Δlogit|" in note for note in notes)
    expected = logits(model, {1: vector.scaled_D(1, 0.5)})
    assert float((logits(done.out, {}) - expected).abs().max()) <= 1e-4
    card = ModelCard.load(done.out / "README.md")
    assert card.data.get("license") == "mit"
    assert "| 1 | 0.5 |" in card.text
    assert "max \\|Δlogit\\|" in card.text
    assert (done.out / "README.base.md").read_text().endswith("# Tiny")
    assert loaded(done.out).fingerprint != vector.model_fingerprint, "a steered model is another model"


def test_layers_and_strengths(model: Path) -> None:
    vector = vector_for(model)
    done, _ = baked(model, vector, layers=[0, 2], coefficient=-1.5, verify=False)
    assert done.coefficients == {0: -1.5, 2: -1.5}
    assert done.compared is None
    assert "not checked" in (done.out / "README.md").read_text()
    other = vector_for(model, recommended_layer=None, recommended_strength=None, residual_norm_L=None)
    again = bake(other, ModelSettings(path=str(model)), model.parent / "b", SilentReporter(), layers=[2], coefficient=2)
    expected = logits(model, {2: 2 * vector.direction_D(2)})
    assert float((logits(again.out, {}) - expected).abs().max()) <= 1e-4


@pytest.mark.parametrize(
    ("changes", "how", "error", "said"),
    [
        ({}, {"strength": 0.1, "coefficient": 1.0}, ConfigError, "give one of them"),
        ({}, {"strength": 0.0}, ConfigError, "--strength 0"),
        ({}, {"strength": float("nan")}, ConfigError, "finite"),
        ({}, {"coefficient": 0.0}, ConfigError, "--coefficient 0"),
        ({}, {"layers": [9]}, LayerError, "no layer 9"),
        ({}, {"layers": [9], "coefficient": 1.0}, LayerError, "no layer 9"),
        ({"recommended_layer": None}, {}, ConfigError, "give --layer "),
        ({"recommended_strength": None}, {}, ConfigError, "give --strength"),
        ({"recommended_layer": None, "recommended_strength": None}, {}, ConfigError, "--layer and --strength"),
        ({"residual_norm_L": None}, {}, VectorError, "--coefficient"),
        ({"model_fingerprint": "other"}, {}, VectorError, "fitted on other weights.*--any-model"),
        ({"directions_LD": np.ones((3, 31), np.float32)}, {}, VectorError, "31.*32 wide"),
        ({"layers": (0, 1, 7)}, {}, VectorError, "has a layer 7"),
        ({"layers": (0, 1, 7)}, {"layers": [7]}, LayerError, "no layer 7"),
        ({"directions_LD": np.zeros((3, 32), np.float32)}, {"coefficient": 1.0}, VectorError, "is zero"),
    ],
)
def test_what_is_refused(
    changes: dict[str, Any], how: dict[str, Any], error: type[Exception], said: str, model: Path
) -> None:
    with pytest.raises(error, match=said):
        baked(model, vector_for(model, **changes), **how)
    assert sorted(path.name for path in model.parent.iterdir()) == ["tiny"]


def test_other_weights_where_that_is_meant(model: Path) -> None:
    done, _ = baked(model, vector_for(model, model_fingerprint="other"), any_model=True)
    assert done.compared is not None


def test_a_place_that_is_taken_is_refused_before_anything_is_loaded(model: Path) -> None:
    (model.parent / "baked").mkdir()
    (model.parent / "baked" / "mine").touch()
    with pytest.raises(StorageError, match="not empty"):
        bake(vector_for(model), ModelSettings(path="no/such"), model.parent / "baked", SilentReporter())


@pytest.mark.parametrize("where", ["./none", "file.gguf"])
def test_models_that_are_not_there(where: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    if where == "file.gguf":
        Path(where).write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"no such folder|GGUF file cannot be baked"):
        bake(vector_for(model), ModelSettings(path=where), model.parent / "baked", SilentReporter())


def test_a_folder_that_does_something_else_never_appears(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add = writing._add

    def wrongly(baking: Any, scratch: Path) -> None:
        add(replace(baking, added={name: tensor * 0.5 for name, tensor in baking.added.items()}), scratch)

    monkeypatch.setattr(writing, "_add", wrongly)
    with pytest.raises(ModelError, match=r"does not do what the vector does.*Nothing was kept"):
        baked(model, vector_for(model))
    assert sorted(path.name for path in model.parent.iterdir()) == ["tiny"]


def test_a_model_of_the_hub(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Out of the cache, offline, known by its commit as when it is loaded for fitting."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "cache" / "models--ada--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    shutil.copytree(model, cached / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    settings = ModelSettings(path="ada/tiny", device="cpu")
    vector = vector_for(model, model_fingerprint=load_fresh(settings, SilentReporter()).fingerprint)
    done = bake(vector, settings, tmp_path / "baked", SilentReporter())
    assert done.compared is not None
    assert ModelCard.load(done.out / "README.md").data.get("base_model") == "ada/tiny"
    with pytest.raises(ModelError, match="ada/none: cannot be fetched from the hub"):
        bake(vector, ModelSettings(path="ada/none"), tmp_path / "none", SilentReporter())


@pytest.mark.slow
def test_the_real_model(smollm2: LanguageModel, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vector = SteeringVector(
        generator.standard_normal((30, 576)).astype(np.float32), tuple(range(30)), np.full(30, 100, np.float32),
        "smollm2", smollm2.fingerprint, "noise", "mean_difference", "response",
    )  # fmt: skip
    settings = ModelSettings(path="smollm2", device="cpu")
    done = bake(vector, settings, tmp_path / "baked", SilentReporter(), layers=[12], strength=0.4)
    assert done.compared is not None
    assert done.compared.max_difference <= 1e-4
    assert done.compared.effect > 1
    other = loaded(done.out)
    ids = smollm2.tokenizer("The weather today", return_tensors="pt")["input_ids"]
    for layer in (11, 12, 13):
        with torch.no_grad(), steering(smollm2, [Steering(layer, torch.from_numpy(vector.scaled_D(12, 0.4)))]):
            hooked = smollm2.hf(ids).logits
        with torch.no_grad():
            difference = float((other.hf(ids).logits - hooked).abs().max())
        assert (difference <= 1e-4) == (layer == 12)
    assert not (done.out / "steer-llama.json").exists()
