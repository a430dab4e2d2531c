"""Files and objects of the package steering-vectors: without it, and with the real one."""

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from steer_llama.errors import ConfigError, FileError, VectorError
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Steering, steering
from steer_llama.vectors import (
    FORMATS,
    SteeringVector,
    from_steering_vectors,
    open_vector,
    save_vector,
    to_steering_vectors,
)
from tests.packages import imported, overlay
from tests.vectors.formats.layers import IDS_BT, by_layer, complete, hidden_states_ND, hooked_LD, partial
from tests.vectors.formats.torch_zip import global_, number, program, tensor, text, torch_zip
from tests.vectors.test_vector import vector

NAME = "steering-vectors"
CLASS = "steering_vectors.steering_vector.SteeringVector"


@pytest.fixture
def package() -> Iterator[Any]:
    """The real one, in the version that was read."""
    with imported("steering_vectors", overlay("steering-vectors==0.12.2")) as module:
        assert module.__version__ == "0.12.2"
        yield module


def object_of(*items: bytes) -> bytes:
    state = pickle.EMPTY_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS
    return program(global_(CLASS), pickle.EMPTY_TUPLE, pickle.NEWOBJ, state, pickle.BUILD)


def activations(*items: bytes) -> bytes:
    return text("layer_activations") + pickle.EMPTY_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS


ROW = tensor((4,), (1,), stored=4)
BLOCKS = text("layer_type") + text("decoder_block")


@pytest.mark.parametrize("given", [complete(), partial()], ids=["complete", "partial"])
def test_a_round_trip_is_exact(tmp_path: Path, given: SteeringVector) -> None:
    assert "steering_vectors" not in sys.modules
    notes = save_vector(tmp_path / "v.pt", given, NAME)
    found = open_vector(tmp_path / "v.pt")
    assert (found.format, found.notes) == (NAME, ())
    assert by_layer(found.vector) == by_layer(given)
    assert "left out: the model" in notes[0]
    assert "steering_vectors" not in sys.modules


def test_its_pickle_step_by_step(tmp_path: Path) -> None:
    numbers = np.array([1.5, -2, 3, 0], np.float32)
    torch_zip(tmp_path / "v.pt", object_of(activations(number(7), ROW), BLOCKS), numbers)
    found = open_vector(tmp_path / "v.pt").vector
    assert found.layers == (7,)
    assert found.direction_D(7).tolist() == numbers.tolist()


@pytest.mark.parametrize(
    ("state", "error", "says"),
    [
        ([activations(number(7), ROW)], VectorError, "its layer_type is 'None'"),
        ([activations(number(7), ROW), text("layer_type") + text("mlp")], VectorError, "layer_type is 'mlp'; expected"),
        ([activations(number(-1), ROW), BLOCKS], VectorError, "a layer -1; expected 0 to 4095"),
        ([activations(number(2**300), ROW), BLOCKS], VectorError, "a layer 20370"),
        ([activations(), BLOCKS], VectorError, "the shapes none"),
        ([activations(text("7"), ROW), BLOCKS], FileError, "no dict of tensors by layer number"),
        ([activations(number(7), number(7)), BLOCKS], FileError, "no dict of tensors by layer number"),
        ([BLOCKS], FileError, "no dict of tensors by layer number"),
        ([activations(number(7), tensor((2, 2), (2, 1), stored=4)), BLOCKS], VectorError, r"the shapes \(2, 2\)"),
    ],
)
def test_objects_that_are_no_vector(tmp_path: Path, state: list[bytes], error: type[Exception], says: str) -> None:
    torch_zip(tmp_path / "v.pt", object_of(*state), np.ones(4, np.float32))
    assert FORMATS[NAME].recognises(tmp_path / "v.pt")
    with pytest.raises(error, match=rf"v\.pt: .*{says}"):
        open_vector(tmp_path / "v.pt")


def test_other_classes_of_the_package(tmp_path: Path) -> None:
    torch_zip(tmp_path / "v.pt", program(global_(CLASS + "s"), pickle.EMPTY_TUPLE, pickle.NEWOBJ))
    with pytest.raises(FileError, match=r"asks for 'steering_vectors\.steering_vector\.SteeringVectors'"):
        open_vector(tmp_path / "v.pt")


def test_objects_without_the_package() -> None:
    with pytest.raises(ConfigError, match="pip install steering-vectors"):
        to_steering_vectors(vector())
    rows = {3: torch.randn(1, 4).bfloat16(), 1: torch.nn.Parameter(torch.randn(4))}
    found = from_steering_vectors(SimpleNamespace(layer_activations=rows, layer_type="decoder_block"))
    assert (found.format, found.notes) == (NAME, ())
    assert found.vector.layers == (1, 3)
    assert found.vector.direction_D(3).tolist() == rows[3][0].tolist()
    with pytest.raises(VectorError, match="the SteeringVector: its layer_type is 'self_attn'"):
        from_steering_vectors(SimpleNamespace(layer_activations=rows, layer_type="self_attn"))
    rows = {0: torch.full((4,), 0.1, dtype=torch.float64)}
    noted = from_steering_vectors(SimpleNamespace(layer_activations=rows, layer_type="decoder_block"))
    assert noted.notes == ("The numbers were rounded to float32.",)


@pytest.mark.slow
def test_our_file_in_the_real_package(tmp_path: Path, package: Any) -> None:
    given = partial()
    save_vector(tmp_path / "v.pt", given, NAME)
    found = torch.load(tmp_path / "v.pt", weights_only=False)
    assert type(found) is package.SteeringVector
    assert found.layer_type == "decoder_block"
    assert {layer: row.numpy().tobytes() for layer, row in found.layer_activations.items()} == by_layer(given)
    assert by_layer(from_steering_vectors(found).vector) == by_layer(given)
    made = to_steering_vectors(given)
    assert type(made) is package.SteeringVector
    assert made.layer_type == found.layer_type
    assert by_layer(from_steering_vectors(made).vector) == by_layer(given)


@pytest.mark.slow
def test_the_real_packages_file(tmp_path: Path, package: Any) -> None:
    rows = {layer: torch.randn(8).to(kind) for layer, kind in ((5, torch.float32), (2, torch.bfloat16))}
    torch.save(package.SteeringVector(layer_activations=rows), tmp_path / "v.pt")
    found = open_vector(tmp_path / "v.pt")
    assert found.format == NAME
    assert {layer: found.vector.direction_D(layer).tolist() for layer in (2, 5)} == {
        layer: row.tolist() for layer, row in rows.items()
    }
    torch.save(package.SteeringVector(layer_activations=rows, layer_type="mlp"), tmp_path / "v.pt")
    with pytest.raises(VectorError, match="layer_type is 'mlp'"):
        open_vector(tmp_path / "v.pt")


@pytest.mark.slow
def test_it_reads_the_layers_that_we_do(package: Any, tiny_llama: LanguageModel) -> None:
    with package.record_activations(tiny_llama.hf) as recorded, torch.no_grad():
        tiny_llama.hf(IDS_BT)
    theirs_LD = torch.stack([recorded[layer][0][0].mean(dim=0) for layer in range(3)]).numpy()
    assert np.array_equal(theirs_LD, hooked_LD(tiny_llama))
    states_ND = hidden_states_ND(tiny_llama).numpy()
    assert np.allclose(theirs_LD[:2], states_ND[1:3], atol=1e-6)
    assert not np.allclose(theirs_LD[0], states_ND[0], atol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_it_steers_as_our_hook_does(tmp_path: Path, package: Any, tiny_llama: LanguageModel, layer: int) -> None:
    row_D = np.random.default_rng(layer).standard_normal(32).astype(np.float32)
    save_vector(tmp_path / "v.pt", vector(directions_LD=row_D[None], layers=(layer,), residual_norm_L=None), NAME)
    theirs = torch.load(tmp_path / "v.pt", weights_only=False)

    def ours(at: int) -> torch.Tensor:
        with steering(tiny_llama, [Steering(at, 0.5 * torch.tensor(row_D))]), torch.no_grad():
            return tiny_llama.hf(IDS_BT).logits

    with torch.no_grad():
        plain = tiny_llama.hf(IDS_BT).logits
        with theirs.apply(tiny_llama.hf, multiplier=0.5):
            steered = tiny_llama.hf(IDS_BT).logits
    assert (steered - ours(layer)).abs().max() <= 1e-5
    for other in {0, 1, 2} - {layer}:
        assert (steered - ours(other)).abs().max() > 0.1
    assert (steered - plain).abs().max() > 0.1
