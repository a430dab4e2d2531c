import base64
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zstandard

from steer_llama.errors import FileError, InputError, VectorError
from steer_llama.vectors import Reading, open_vector, save_vector
from tests.vectors.test_vector import vector

VALUES_LD = np.random.default_rng(1).standard_normal((2, 8)).astype(np.float32)


def tensor(values: np.ndarray, original: str = "torch.float32", **changes: Any) -> dict[str, Any]:
    """As vllm-lens 1.3.0 packs it."""
    data = base64.b64encode(zstandard.ZstdCompressor(level=1).compress(values.tobytes())).decode()
    packed = {"data": data, "dtype": str(values.dtype), "original_dtype": original, "shape": list(values.shape)}
    return packed | {"compression": "zstd"} | changes


def read(tmp_path: Path, activations: Any, *, whole: Any = None, **others: Any) -> Reading:
    usual = {"layer_indices": [3, 5], "scale": 1.0, "norm_match": False, "position_indices": None}
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(whole or {"activations": activations} | usual | others))
    return open_vector(path)


def test_theirs(tmp_path: Path) -> None:
    reading = read(tmp_path, tensor(VALUES_LD))
    assert (reading.format, reading.notes, reading.vector.layers) == ("vllm-lens", (), (3, 5))
    assert reading.vector.directions_LD.tobytes() == VALUES_LD.tobytes()
    assert (reading.vector.model_fingerprint, reading.vector.residual_norm_L) == ("", None)
    listed = [{"activations": tensor(VALUES_LD), "layer_indices": [3, 5]}]
    assert read(tmp_path, None, whole=listed).vector.layers == (3, 5)
    with pytest.raises(FileError, match="a list of 2 vectors"):
        read(tmp_path, None, whole=listed * 2)


def test_other_types_of_numbers(tmp_path: Path) -> None:
    as_bfloat16 = torch.from_numpy(VALUES_LD).to(torch.bfloat16)
    for packed, expected, notes in (
        (tensor(as_bfloat16.view(torch.int16).numpy(), "torch.bfloat16"), as_bfloat16.float().numpy(), 0),
        (tensor(VALUES_LD.astype(np.float16), "torch.float16"), VALUES_LD.astype(np.float16), 0),
        (tensor(VALUES_LD.astype(np.float64), "torch.float64"), VALUES_LD, 1),
        ({"data": base64.b64encode(VALUES_LD.tobytes()).decode(), "dtype": "float32", "shape": [2, 8]}, VALUES_LD, 0),
    ):
        reading = read(tmp_path, packed)
        assert (reading.vector.directions_LD == expected).all()
        assert len(reading.notes) == notes


def test_what_a_vector_here_cannot_hold(tmp_path: Path) -> None:
    reading = read(tmp_path, tensor(VALUES_LD), scale=-2.5)
    np.testing.assert_allclose(reading.vector.directions_LD, -2.5 * VALUES_LD, rtol=1e-6)
    assert "its scale, -2.5, is multiplied into the directions" in reading.notes[0]
    reading = read(tmp_path, tensor(VALUES_LD), scale=0.5, norm_match=True)
    assert (reading.vector.directions_LD == VALUES_LD).all()
    assert "--strength 0.5 is the nearest" in reading.notes[0]
    reading = read(tmp_path, tensor(VALUES_LD[:, None]), position_indices=[4])
    assert (reading.vector.directions_LD == VALUES_LD).all()
    assert "at token 4 alone" in reading.notes[0]
    with pytest.raises(VectorError, match="each of 2 token positions"):
        read(tmp_path, tensor(VALUES_LD.reshape(2, 2, 4)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": [2, 7]}, "unpacks to 64 bytes; its shape needs 56"),
        ({"shape": [2, 10**9]}, "needs 8,000,000,000"),
        ({"shape": [2, 8, 1, 1]}, "expected .layers, width."),
        ({"shape": [-2, -8]}, "expected .layers, width."),
        ({"shape": []}, "expected .layers, width."),
        ({"dtype": "object"}, "the activations are object"),
        ({"dtype": "int16"}, "the activations are int16"),
        ({"compression": "gzip"}, "compressed as 'gzip'"),
        ({"compression": None}, "its shape .* needs 64"),
        ({"data": "AAAA"}, "is damaged|unpacks"),
        ({"data": "not base64"}, "is not base64"),
        ({"data": 3}, "activations.data: "),
    ],
)
def test_damage(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        read(tmp_path, tensor(VALUES_LD, **changes))
    assert str(tmp_path / "theirs.json") in str(refused.value)


@pytest.mark.parametrize(
    "others",
    [
        {"layer_indices": [3]},
        {"layer_indices": [3, 3]},
        {"layer_indices": [3, -1]},
        {"layer_indices": [3, 10**30]},
        {"scale": "much"},
        {"steer_llama": []},
        {"steer_llama": {"model": 3}},
        {"steer_llama": {"recommended_layer": 4}},
        {"steer_llama": {"recommended_strength": "x"}},
        {"steer_llama": {"residual_norm": {"3": 1}}},
        {"steer_llama": {"residual_norm": {"3": 1, "5": 10**400}}},
        {"steer_llama": {"evidence": "[" * 100_000}},
        {"steer_llama": {"evidence": {}}},
    ],
)
def test_what_does_not_fit(tmp_path: Path, others: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"theirs\.json: "):
        read(tmp_path, tensor(VALUES_LD), **others)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    zeros = np.zeros((2, 2**25), np.float32)  # 256 MB
    with pytest.raises(FileError, match="become 268,435,456: that is no vector"):
        read(tmp_path, tensor(zeros))


def test_a_lie_about_the_unpacked_size(tmp_path: Path) -> None:
    frame = bytearray(zstandard.ZstdCompressor(level=1).compress(bytes(2**20)))
    assert zstandard.frame_content_size(bytes(frame)) == 2**20
    frame[6:10] = (64).to_bytes(4, "little")  # of 1 MB it says 64 bytes
    assert zstandard.frame_content_size(bytes(frame)) == 64
    with pytest.raises(FileError, match="is damaged"):
        read(tmp_path, tensor(VALUES_LD, data=base64.b64encode(frame).decode()))


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    harm = base64.b64encode(pickle.dumps(VALUES_LD)).decode()
    for packed in (tensor(VALUES_LD, data=harm), {"cloudpickle": harm}, {"__type__": "cloudpickle", "data": harm}):
        with pytest.raises(FileError):
            read(tmp_path, packed)


def test_what_stands_in_the_file(tmp_path: Path) -> None:
    assert save_vector(tmp_path / "v.json", vector(), "vllm-lens") == ()
    value = json.loads((tmp_path / "v.json").read_text())
    facts = value.pop("steer_llama")
    activations = value.pop("activations")
    assert value == {"layer_indices": [4, 7, 9], "scale": 1.0, "norm_match": False, "position_indices": None}
    assert facts["residual_norm"] == {"4": 10, "7": 20, "9": 30}
    raw = zstandard.ZstdDecompressor().decompress(base64.b64decode(activations.pop("data")))
    assert (np.frombuffer(raw, np.float32).reshape(activations["shape"]) == vector().directions_LD).all()
    original = {"dtype": "float32", "original_dtype": "torch.float32", "shape": [3, 16], "compression": "zstd"}
    assert activations == original
