"""A vector whose layers are each trained from a start."""

from pathlib import Path

import numpy as np
import pytest

from steer_llama.config import TrainSettings
from steer_llama.errors import ConfigError, LayerError, VectorError
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.training import train_direction
from steer_llama.progress import SilentReporter
from steer_llama.records import Pair
from steer_llama.stages.train import train_vector
from steer_llama.vectors import SteeringVector, read_vector, write_vector

SETTINGS = TrainSettings(steps=2, batch_size=2, check_every=1)
PAIRS = [
    Pair(prompt=({"role": "user", "content": f"hello {n}"},), chosen=f"party {n} 🎉", rejected="the fox", name=str(n))
    for n in range(6)
]


def starts(model: LanguageModel, **changes: object) -> SteeringVector:
    values: dict[str, object] = {
        "directions_LD": np.random.default_rng(0).standard_normal((3, 32)).astype(np.float32),
        "layers": (0, 1, 2),
        "residual_norm_L": np.array([25, 37, 46], np.float32),
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        "trait": "emoji",
        "estimator": "mean_difference",
        "positions": "response",
    }
    return SteeringVector(**{**values, **changes})  # type: ignore[arg-type]


def test_each_layer_is_trained_from_its_own_start(tiny_llama: LanguageModel) -> None:
    begin = starts(tiny_llama)
    reporter = SilentReporter()
    vector = train_vector(PAIRS, tiny_llama, [2, 0], begin, SETTINGS, reporter)
    assert (vector.layers, vector.estimator, vector.trait, vector.dtype) == ((0, 2), "trained", "emoji", "float32")
    assert vector.residual_norm_L is not None
    np.testing.assert_array_equal(vector.residual_norm_L, [25, 46])
    for row, layer, norm in zip(vector.directions_LD, (0, 2), (25.0, 46.0), strict=True):
        alone = train_direction(tiny_llama, PAIRS, layer, begin.direction_D(layer), norm, SETTINGS, reporter)
        np.testing.assert_array_equal(row, alone.direction_D)
    assert [note[:17] for note in reporter.notes] == ["layer 0: dev loss", "layer 2: dev loss"]


def test_the_evidence_survives_the_file(tiny_llama: LanguageModel, tmp_path: Path) -> None:
    vector = train_vector(PAIRS, tiny_llama, [1], starts(tiny_llama), SETTINGS, SilentReporter())
    write_vector(tmp_path / "v.safetensors", vector)
    training = read_vector(tmp_path / "v.safetensors").evidence["training"]
    assert training["start"] == "mean_difference"
    assert training["settings"]["steps"] == 2
    (layer,) = training["layers"]
    assert (layer["layer"], layer["n_train"], layer["n_dev"]) == (1, 4, 2)
    assert [step[0] for step in layer["history"]] == [0, 1, 2]
    assert layer["after"]["dev"]["loss"] <= layer["before"]["dev"]["loss"]
    assert "direction_D" not in layer


def test_what_does_not_fit_is_refused(tiny_llama: LanguageModel) -> None:
    def train(layers: list[int], begin: SteeringVector) -> None:
        train_vector(PAIRS, tiny_llama, layers, begin, SETTINGS, SilentReporter())

    for layers in ([], [1, 1]):
        with pytest.raises(ConfigError, match="at least one, and each once"):
            train(layers, starts(tiny_llama))
    with pytest.raises(LayerError, match="no layer 3"):
        train([3], starts(tiny_llama))
    with pytest.raises(VectorError, match="other weights"):
        train([1], starts(tiny_llama, model_fingerprint="another"))
    with pytest.raises(VectorError, match="does not say how large"):
        train([1], starts(tiny_llama, residual_norm_L=None))
    part = {"directions_LD": np.ones((1, 32), np.float32), "layers": (0,), "residual_norm_L": np.ones(1, np.float32)}
    with pytest.raises(LayerError, match="the vector has no layer 1"):
        train([1], starts(tiny_llama, **part))
