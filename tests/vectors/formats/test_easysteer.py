"""EasySteer's control vectors: told from llama.cpp's by what their values say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steer_llama.errors import VectorError
from steer_llama.vectors import open_vector, save_vector
from tests.vectors.formats.gguf_files import read_by_library, rows, write_gguf
from tests.vectors.test_vector import vector

OLD = {
    "controlvector.model_hint": "qwen2",
    "controlvector.method": "diffmean",
    "controlvector.layer_count": 3,
    "controlvector.normalize": 1.0,
    "controlvector.token_pos": -1.0,
    "controlvector.n_positive": 200.0,
    "controlvector.n_negative": 200.0,
}
"""As its releases of 2025 write."""


def native(**changes: Any) -> dict[str, Any]:
    """As those of 2026 write."""
    said = {"version": 1, "component": "hidden_states", "metadata": {"mapping": [["normalize", True]]}} | changes
    return {
        "controlvector.model_hint": "org/Some-Model",
        "controlvector.method": "pca",
        "controlvector.layer_count": 3,
        "controlvector.easysteer": json.dumps(said),
    }


def test_an_old_file(tmp_path: Path) -> None:
    reading = open_vector(write_gguf(tmp_path / "happy.gguf", rows(0, 1, 27), OLD))
    assert reading.format == "easysteer"
    assert reading.notes == ("the file holds direction.0, so llama.cpp refuses all of it and answers unsteered.",)
    found = reading.vector
    assert found.layers == (0, 1, 27)
    for layer in found.layers:
        assert (found.direction_D(layer) == 100 + layer).all()
    assert (found.model_type, found.model, found.estimator) == ("qwen2", "", "diffmean")
    assert found.evidence == {"easysteer": {"normalize": 1, "token_pos": -1, "n_positive": 200, "n_negative": 200}}


def test_a_new_file(tmp_path: Path) -> None:
    reading = open_vector(write_gguf(tmp_path / "v.gguf", rows(3), native()))
    assert (reading.format, reading.notes) == ("easysteer", ())
    found = reading.vector
    assert (found.model_type, found.model, found.estimator) == ("", "org/Some-Model", "pca")
    assert found.evidence == {"easysteer": {"metadata": {"mapping": [["normalize", True]]}}}


@pytest.mark.parametrize("component", ["attention_heads", "router_logits"])
def test_what_is_not_for_the_residual_stream(tmp_path: Path, component: str) -> None:
    write_gguf(tmp_path / "v.gguf", rows(3), native(component=component))
    with pytest.raises(VectorError, match=rf"v\.gguf: its directions are for '{component}'"):
        open_vector(tmp_path / "v.gguf")


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2}', "[" * 100_000])
def test_a_damaged_description(tmp_path: Path, text: str) -> None:
    write_gguf(tmp_path / "v.gguf", rows(3), {"controlvector.easysteer": text})
    with pytest.raises(VectorError, match=r"v\.gguf: controlvector\.easysteer is .*version 1"):
        open_vector(tmp_path / "v.gguf")


def test_what_easysteer_finds_in_a_file_of_ours(tmp_path: Path) -> None:
    given = vector(layers=(0, 7, 9), model_type="llama", evidence={"pairs": 33})
    (note,) = save_vector(tmp_path / "v.gguf", given, "easysteer")
    assert "holds layer 0, so llama.cpp refuses it" in note
    tensors, values = read_by_library(tmp_path / "v.gguf")
    assert list(tensors) == ["direction.0", "direction.7", "direction.9"]
    assert (tensors["direction.7"] == given.direction_D(7)).all()
    found = {key.removeprefix("controlvector."): value for key, value in values.items() if "controlvector." in key}
    said = json.loads(str(found.pop("easysteer")))
    assert found == {
        "model_hint": "llama",
        "method": "diffmean",
        "layer_count": 3,
        "normalize": 0,
        "token_pos": "response",
        "n_positive": 33,
        "n_negative": 33,
    }
    assert (said["version"], said["component"]) == (1, "hidden_states")
    assert dict(said["metadata"]["mapping"])["n_positive"] == 33


def test_unit_norms_are_said(tmp_path: Path) -> None:
    given = vector()
    norms_L1 = np.linalg.norm(given.directions_LD, axis=1, keepdims=True)
    save_vector(tmp_path / "v.gguf", vector(directions_LD=given.directions_LD / norms_L1), "easysteer")
    assert read_by_library(tmp_path / "v.gguf")[1]["controlvector.normalize"] == 1
