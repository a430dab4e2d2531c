"""llama.cpp's and repeng's control vectors: layer for layer, with our own record beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steer_llama.errors import FileError, VectorError
from steer_llama.vectors import SteeringVector, open_vector, save_vector
from tests.vectors.formats.gguf_files import read_by_library, rows, write_gguf
from tests.vectors.test_vector import vector

FULL: dict[str, Any] = {
    "model_type": "llama",
    "dtype": "bfloat16",
    "revision": "0123abc",
    "recommended_layer": 7,
    "recommended_strength": 0.1 + 0.2,
    "trait": "é 😀",
    "evidence": {"pairs": 3, "ü": [0.1, None, "😀"], "verdict": {"sampling": {"temperature": 0.7}}},
}


def assert_same(found: SteeringVector, given: SteeringVector) -> None:
    """Bit for bit, in everything."""
    arrays = ("directions_LD", "residual_norm_L")
    assert found.directions_LD.tobytes() == given.directions_LD.tobytes()
    assert found.directions_LD.dtype == np.float32
    if given.residual_norm_L is None:
        assert found.residual_norm_L is None
    else:
        assert found.residual_norm_L is not None
        assert found.residual_norm_L.tobytes() == given.residual_norm_L.tobytes()
    assert {k: v for k, v in vars(found).items() if k not in arrays} == {
        k: v for k, v in vars(given).items() if k not in arrays
    }


@pytest.mark.parametrize("name", ["gguf", "easysteer"])
def test_a_round_trip_is_exact(tmp_path: Path, name: str) -> None:
    for given in (vector(**FULL), vector(residual_norm_L=None), vector(residual_norm_L=np.ones(3, np.float32) / 3)):
        notes = save_vector(tmp_path / "v.gguf", given, name)
        assert len(notes) == (0 if given.model_type else 1)
        reading = open_vector(tmp_path / "v.gguf")
        assert (reading.format, reading.notes) == (name, ())
        assert_same(reading.vector, given)
        save_vector(tmp_path / "again.gguf", reading.vector, name)
        assert (tmp_path / "again.gguf").read_bytes() == (tmp_path / "v.gguf").read_bytes()


def test_the_proof_survives_the_way_through_gguf(tmp_path: Path) -> None:
    save_vector(tmp_path / "v.safetensors", vector(**FULL), "steer-llama")
    save_vector(tmp_path / "v.gguf", open_vector(tmp_path / "v.safetensors").vector, "gguf")
    save_vector(tmp_path / "back.safetensors", open_vector(tmp_path / "v.gguf").vector, "steer-llama")
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "v.safetensors").read_bytes()


def test_what_stands_in_the_file(tmp_path: Path) -> None:
    given = vector(**FULL)
    save_vector(tmp_path / "v.gguf", given, "gguf")
    tensors, values = read_by_library(tmp_path / "v.gguf")
    assert list(tensors) == ["direction.4", "direction.7", "direction.9"]
    for row, layer in enumerate((4, 7, 9)):
        assert tensors[f"direction.{layer}"].dtype == np.float32
        assert tensors[f"direction.{layer}"].tobytes() == given.directions_LD[row].tobytes()
    assert values["general.architecture"] == "controlvector"
    assert values["controlvector.model_hint"] == "llama"
    assert values["controlvector.layer_count"] == 3
    assert json.loads(str(values["steer_llama.evidence"])) == FULL["evidence"]
    others = [key for key in values if not key.startswith(("GGUF.", "general.", "controlvector.", "steer_llama."))]
    assert not others


def test_direction_n_is_our_layer_n(tmp_path: Path) -> None:
    reading = open_vector(write_gguf(tmp_path / "v.gguf", rows(10, 2, 1)))
    assert reading.format == "gguf"
    assert reading.notes == ()
    assert reading.vector.layers == (1, 2, 10)
    for layer in (1, 2, 10):
        assert (reading.vector.direction_D(layer) == 100 + layer).all()
    assert reading.vector.model_type == "llama"
    assert reading.vector.residual_norm_L is None
    assert reading.vector.model == reading.vector.trait == reading.vector.estimator == ""


def test_layers_out_of_order_are_put_in_order_with_all_that_is_theirs(tmp_path: Path) -> None:
    given = vector(layers=(9, 4, 7))
    save_vector(tmp_path / "v.gguf", given, "gguf")
    found = open_vector(tmp_path / "v.gguf").vector
    assert found.layers == (4, 7, 9)
    for layer in found.layers:
        assert (found.direction_D(layer) == given.direction_D(layer)).all()
        assert found.residual_norm(layer) == given.residual_norm(layer)


def test_layer_0_is_left_out_and_named(tmp_path: Path) -> None:
    given = vector(layers=(0, 1, 2), model_type="llama", recommended_layer=0, recommended_strength=0.5)
    notes = save_vector(tmp_path / "v.gguf", given, "gguf")
    assert len(notes) == 2
    assert notes[0] == "layer 0 is left out: llama.cpp refuses a file that holds it."
    assert notes[1].startswith("the recommendation is left out")
    tensors, values = read_by_library(tmp_path / "v.gguf")
    assert list(tensors) == ["direction.1", "direction.2"]
    assert values["controlvector.layer_count"] == 2
    found = open_vector(tmp_path / "v.gguf").vector
    assert found.recommended_layer is None
    assert found.recommended_strength is None
    assert found.residual_norm(1) == 20
    assert (found.direction_D(1) == given.direction_D(1)).all()


def test_layer_0_alone_cannot_be_held(tmp_path: Path) -> None:
    only = SteeringVector(np.ones((1, 4), np.float32), (0,), None, "", "", "", "", "")
    with pytest.raises(VectorError, match=r"only layer 0.*Choose another layer"):
        save_vector(tmp_path / "v.gguf", only, "gguf")
    assert not list(tmp_path.iterdir())
    save_vector(tmp_path / "v.gguf", only, "easysteer")
    reading = open_vector(tmp_path / "v.gguf")
    assert reading.vector.layers == (0,)
    assert any("direction.0, so llama.cpp refuses" in note for note in reading.notes)


def test_a_model_of_unknown_architecture(tmp_path: Path) -> None:
    (note,) = save_vector(tmp_path / "v.gguf", vector(), "gguf")
    assert "model_hint says 'unknown'" in note
    assert read_by_library(tmp_path / "v.gguf")[1]["controlvector.model_hint"] == "unknown"
    assert open_vector(tmp_path / "v.gguf").vector.model_type == ""


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_half_precision_is_read_and_named(tmp_path: Path, dtype: str) -> None:
    if dtype == "F16":
        write_gguf(tmp_path / "v.gguf", rows(3, dtype=np.float16))
    else:
        # The writer has no bfloat16 of its own: the upper halves of float32, and their type put into the header.
        upper = (rows(3)["direction.3"].view("<u4") >> 16).astype("<u2").view(np.float16)
        content = write_gguf(tmp_path / "v.gguf", {"direction.3": upper}).read_bytes()
        at = content.index(b"direction.3") + len("direction.3") + 4 + 8
        assert content[at : at + 4] == (1).to_bytes(4, "little")
        (tmp_path / "v.gguf").write_bytes(content[:at] + (30).to_bytes(4, "little") + content[at + 4 :])
    reading = open_vector(tmp_path / "v.gguf")
    assert (reading.vector.direction_D(3) == 103).all()
    (note,) = reading.notes
    assert note.startswith(f"directions are {dtype}: llama.cpp drops such a file")


def test_what_llama_cpp_and_repeng_would_not_do_is_said(tmp_path: Path) -> None:
    for values, tensors, architecture, says in (
        (None, rows(0, 1), "controlvector", "holds direction.0, so llama.cpp refuses all of it"),
        (None, rows(1), "steeringvector", "architecture is 'steeringvector', not 'controlvector'"),
        (None, rows(1) | {"mean": np.ones(3, np.float32)}, "controlvector", r"left out ('mean'); llama.cpp refuses"),
        ({"x": 1}, rows(1), "controlvector", "no controlvector.model_hint, without which repeng"),
    ):
        reading = open_vector(write_gguf(tmp_path / "v.gguf", tensors, values, architecture))
        assert 1 in reading.vector.layers
        assert len(reading.notes) == 1
        assert says in reading.notes[0]


def test_a_row_of_a_matrix_is_a_direction(tmp_path: Path) -> None:
    found = open_vector(write_gguf(tmp_path / "v.gguf", {"direction.1": np.arange(6, dtype=np.float32)[None]})).vector
    assert found.direction_D(1).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        (rows(1) | rows(2, width=9), r"different widths \(8, 9\)"),
        (rows(1) | {"direction.01": np.ones(8, np.float32)}, "layer 1 stands twice"),
        ({"direction.1": np.full(8, np.nan, np.float32)}, "'direction.1' holds NaN or infinity"),
        ({"direction.1": np.full(8, np.inf, np.float16)}, "'direction.1' holds NaN or infinity"),
        ({"direction.1": np.ones((2, 8), np.float32)}, r"shape \(8, 2\); expected \(width,\)"),
        ({"direction.1": np.ones(8, np.int32)}, "'direction.1' is I32; expected F32"),
        ({"direction.1": np.ones(8, np.float64)}, "'direction.1' is F64; expected F32"),
        ({"direction.": np.ones(8, np.float32)}, "a tensor 'direction.'; expected direction.N"),
        ({"direction.-1": np.ones(8, np.float32)}, "a tensor 'direction.-1'"),
        ({"direction.1e2": np.ones(8, np.float32)}, "a tensor 'direction.1e2'"),
        ({"direction.10000": np.ones(8, np.float32)}, "a layer from 0 to 9999"),
    ],
)
def test_what_is_no_vector(tmp_path: Path, tensors: dict[str, np.ndarray], says: str) -> None:
    write_gguf(tmp_path / "v.gguf", tensors)
    with pytest.raises(VectorError, match=rf"v\.gguf: .*{says}"):
        open_vector(tmp_path / "v.gguf")


def test_weights_are_no_vector(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", {"blk.0.ffn_down.weight": np.ones((2, 8), np.float32)}, {}, "llama")
    with pytest.raises(FileError, match=r"m\.gguf: not a control vector: GGUF of architecture 'llama' with 1 tensors"):
        open_vector(tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"steer_llama.version": 2}, "version is 2; this program reads 1"),
        ({"steer_llama.layers": [1]}, "layers does not name the layers"),
        ({"steer_llama.layers": 4}, "layers does not name the layers"),
        ({"steer_llama.residual_norm": [1, 2]}, "residual_norm is no array of floats"),
        ({"steer_llama.residual_norm": [1.0, 2.0, 3.0]}, r"residual_norm has shape \(3,\)"),
        ({"steer_llama.residual_norm": [1.0, -2.0]}, "residual_norm must be positive"),
        ({"steer_llama.residual_norm": 5}, "residual_norm is no array"),
        ({"steer_llama.recommended_layer": 5}, "no layer 5; it has 1 to 2"),
        ({"steer_llama.recommended_layer": 1.5}, "expected one int"),
        ({"steer_llama.recommended_strength": 1}, "expected one float"),
        ({"steer_llama.recommended_strength": float("nan")}, "the recommended strength is nan"),
        ({"steer_llama.evidence": "{"}, "evidence is not JSON"),
        ({"steer_llama.evidence": "[" * 100_000}, "evidence is not JSON"),
        ({"steer_llama.evidence": "[]"}, "evidence is a JSON list"),
        ({"steer_llama.trait": 7}, "trait is '7'; expected a text"),
        ({"controlvector.model_hint": 7}, "model_hint is '7'; expected a text"),
    ],
)
def test_a_record_that_is_not_ours(tmp_path: Path, values: dict[str, Any], says: str) -> None:
    whole: dict[str, Any] = {"steer_llama.version": 1, "steer_llama.layers": [1, 2], "steer_llama.evidence": "{}"}
    write_gguf(tmp_path / "v.gguf", rows(1, 2), whole)
    open_vector(tmp_path / "v.gguf")
    write_gguf(tmp_path / "v.gguf", rows(1, 2), whole | values)
    with pytest.raises(VectorError, match=rf"v\.gguf: .*{says}"):
        open_vector(tmp_path / "v.gguf")
