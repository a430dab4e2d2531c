"""Persona vectors and the assistant axis: one tensor with a row a layer, one row apart."""

from pathlib import Path

import numpy as np
import pytest
import torch

from steer_llama.errors import AmbiguousFormatError, FileError, VectorError
from steer_llama.lm.load import LanguageModel
from steer_llama.vectors import FORMATS, SteeringVector, open_vector, save_vector
from tests.vectors.formats.layers import by_layer, complete, hidden_states_ND, hooked_LD, partial
from tests.vectors.test_vector import vector

PERSONA = "evil_response_avg_diff.pt"


@pytest.mark.parametrize("name", ["persona-vectors", "assistant-axis"])
@pytest.mark.parametrize("given", [complete(), complete(first=1), partial()], ids=["complete", "no layer 0", "partial"])
def test_a_round_trip_is_exact(tmp_path: Path, name: str, given: SteeringVector) -> None:
    notes = save_vector(tmp_path / "v.pt", given, name)
    found = open_vector(tmp_path / "v.pt", name)
    assert found.format == name
    assert by_layer(found.vector) == by_layer(given)
    assert found.vector.residual_norm_L is None
    lacking = "0 to 3, 5 to 6, 8" if len(given.layers) == 3 else "0" if 0 not in given.layers else None
    assert any(f"lacks layers {lacking};" in note for note in notes) == (lacking is not None)
    assert any(f"rows of layers {lacking} are zero" in note for note in found.notes) == (lacking is not None)


@pytest.mark.parametrize("given", [complete(), complete(first=1), partial(), vector(layers=(0, 1, 2))])
@pytest.mark.parametrize("name", ["persona-vectors", "assistant-axis"])
def test_no_file_of_ours_is_taken_for_the_other(tmp_path: Path, name: str, given: SteeringVector) -> None:
    notes = save_vector(tmp_path / "v.pt", given, name)
    try:
        found = open_vector(tmp_path / "v.pt")
    except AmbiguousFormatError:
        assert any(f"name {name} to read it" in note for note in notes)
    else:
        assert found.format == name
        assert by_layer(found.vector) == by_layer(given)
        assert not any("to read it" in note for note in notes)


def test_a_zero_direction_of_layer_0_is_not_taken_for_the_embeddings(tmp_path: Path) -> None:
    rows_LD = np.ones((3, 4), np.float32)
    rows_LD[0] = 0
    notes = save_vector(tmp_path / "v.pt", vector(directions_LD=rows_LD, layers=(0, 1, 2)), "assistant-axis")
    assert "The directions of layers 0 are zero, so readers take them for missing." in notes
    with pytest.raises(AmbiguousFormatError):
        open_vector(tmp_path / "v.pt")


def test_persona_vectors_from_their_own_recipe(tmp_path: Path, tiny_llama: LanguageModel) -> None:
    torch.save(hidden_states_ND(tiny_llama), tmp_path / PERSONA)
    found, blocks_LD = open_vector(tmp_path / PERSONA), hooked_LD(tiny_llama)
    assert found.vector.layers == (0, 1, 2)
    for layer in (0, 1):
        assert np.allclose(found.vector.direction_D(layer), blocks_LD[layer], atol=1e-6)
        assert not np.allclose(found.vector.direction_D(layer), blocks_LD[layer + 1], atol=0.1)
    assert not np.allclose(found.vector.direction_D(2), blocks_LD[2], atol=0.1), "theirs is after the final norm"
    assert any("Row 0, the difference of the embeddings" in note for note in found.notes)
    assert any("The last row, layer 2, is usually taken after the model's final norm" in note for note in found.notes)


def test_the_assistant_axis_from_their_own_recipe(tmp_path: Path, tiny_llama: LanguageModel) -> None:
    blocks_LD, states_ND = hooked_LD(tiny_llama), hidden_states_ND(tiny_llama).numpy()
    torch.save(torch.tensor(blocks_LD), tmp_path / "axis.pt")
    found = open_vector(tmp_path / "axis.pt", "assistant-axis").vector
    assert found.layers == (0, 1, 2)
    for layer in (0, 1):
        assert np.allclose(found.direction_D(layer), states_ND[layer + 1], atol=1e-6)
        assert not np.allclose(found.direction_D(layer), states_ND[layer], atol=0.1)
    assert np.array_equal(found.direction_D(2), blocks_LD[2])


def test_the_rows_as_torch_sees_them(tmp_path: Path) -> None:
    given = partial()
    for name, first in (("persona-vectors", 1), ("assistant-axis", 0)):
        save_vector(tmp_path / "v.pt", given, name)
        table = torch.load(tmp_path / "v.pt", weights_only=True)
        assert table.dtype == torch.float32
        assert table.shape == (first + 10, 16)
        for layer in range(10):
            expected = given.direction_D(layer) if layer in given.layers else np.zeros(16)
            assert np.array_equal(table[first + layer].numpy(), expected)
        assert first == 0 or not table[0].any()


def test_the_axis_as_their_pipeline_writes_it(tmp_path: Path) -> None:
    axis = torch.randn(3, 4)
    value = {"axis": axis, "default_mean": axis + 1, "role_mean": axis - 1, "n_default": 1, "n_roles": 2}
    torch.save(value, tmp_path / "axis.pt")
    found = open_vector(tmp_path / "axis.pt")
    assert found.format == "assistant-axis"
    assert np.array_equal(found.vector.directions_LD, axis.numpy())
    assert found.notes == ("Of the file's 5 keys only axis is read.",)


def test_which_files_are_certainly_persona_vectors(tmp_path: Path) -> None:
    table = torch.arange(1, 13).float().reshape(4, 3)
    embeddings_alike = torch.cat([torch.zeros(1, 3), table])
    certain = {
        PERSONA: table,
        "a_b_prompt_last_diff.pt": table,
        "x_prompt_avg_diff.pt": table,
        "v.pt": embeddings_alike,
    }
    unclear = {
        "response_avg_diff.pt": table,
        "x_response_avg.pt": table,
        "w.pt": torch.cat([embeddings_alike, torch.zeros(1, 3)]),
        "zeros.pt": torch.zeros(3, 4),
        "minus.pt": torch.cat([torch.full((1, 3), -0.0), table]),
        "one.pt": torch.zeros(1, 3),
    }
    other = {"a_response_avg_diff.pt": torch.ones(3), "b_response_avg_diff.pt": {"x": table}}
    for name, value in {**certain, **unclear, **other}.items():
        torch.save(value, tmp_path / name)
        assert FORMATS["persona-vectors"].recognises(tmp_path / name) == (name in certain), name
        assert not FORMATS["assistant-axis"].recognises(tmp_path / name)
    found = open_vector(tmp_path / "v.pt")
    assert np.array_equal(found.vector.directions_LD, table.numpy())
    assert "Row 0 is zero and taken for the embeddings; if it is layer 0, the file is assistant-axis." in found.notes


def test_a_bare_table_does_not_tell_its_format(tmp_path: Path) -> None:
    torch.save(torch.arange(1.0, 13.0).reshape(4, 3), tmp_path / "v.pt")
    with pytest.raises(AmbiguousFormatError) as caught:
        open_vector(tmp_path / "v.pt")
    assert caught.value.candidates == ("assistant-axis", "persona-vectors")
    assert isinstance(caught.value, FileError)
    for part in ("v.pt: could be", "Name it", "assistant-axis: 4 layers of width 3", "persona-vectors: 3 layers"):
        assert part in str(caught.value)
    axis, persona = (open_vector(tmp_path / "v.pt", name).vector for name in caught.value.candidates)
    assert axis.layers == (0, 1, 2, 3)
    assert persona.layers == (0, 1, 2)
    assert np.array_equal(axis.direction_D(1), persona.direction_D(0))


@pytest.mark.parametrize("name", ["persona-vectors", "assistant-axis"])
def test_tables_that_are_no_vector(tmp_path: Path, name: str) -> None:
    for value, error, says in (
        (torch.zeros(3, 4), VectorError, "no layer has a direction"),
        (torch.full((3, 4), torch.inf), VectorError, "NaN or infinity"),
        (torch.ones(4), FileError, r"a tensor of shape \(4,\); expected one tensor with a row a layer"),
        (torch.ones(3, 4, 5), FileError, r"a tensor of shape \(3, 4, 5\)"),
        (torch.ones(3, 0), FileError, r"a tensor of shape \(3, 0\)"),
        ({"a": 1, "b": 2}, FileError, "a dict of 'a', 'b'; expected"),
        ({}, FileError, "an empty dict"),
        ([1], FileError, "a value of type list"),
    ):
        torch.save(value, tmp_path / "v.pt")
        with pytest.raises(error, match=rf"v\.pt: .*{says}"):
            open_vector(tmp_path / "v.pt", name)


def test_a_file_of_torchs_that_no_format_reads(tmp_path: Path) -> None:
    torch.save({"state": torch.ones(3)}, tmp_path / "v.pt")
    with pytest.raises(FileError, match=r"holds a dict of 'state'\. Known are .*'blocks\.12\.hook_resid_post'"):
        open_vector(tmp_path / "v.pt")
