from pathlib import Path

import numpy as np
import pytest
import torch

from steer_llama.errors import FileError, VectorError
from steer_llama.vectors import FORMATS, SteeringVector, open_vector, save_vector
from tests.vectors.formats.layers import by_layer, complete, partial


@pytest.mark.parametrize("given", [complete(), partial()], ids=["complete", "partial"])
def test_a_round_trip_is_exact(tmp_path: Path, given: SteeringVector) -> None:
    notes = save_vector(tmp_path / "v.pt", given, "seed")
    found = open_vector(tmp_path / "v.pt")
    assert (found.format, found.notes) == ("seed", ())
    assert by_layer(found.vector) == by_layer(given)
    assert found.vector.layers == tuple(sorted(given.layers))
    assert found.vector.residual_norm_L is None
    assert found.vector.model == found.vector.trait == ""
    assert len(notes) == 1
    assert "left out: the model" in notes[0]
    assert ("the residual norms" in notes[0]) == (given.residual_norm_L is not None)


def test_what_the_seed_writes(tmp_path: Path) -> None:
    """Its keys in its order: as text, so that layer 10 comes before layer 2."""
    means = {f"blocks.{layer}.hook_resid_post": torch.full((4,), layer / 3) for layer in range(12)}
    torch.save({key: means[key] for key in sorted(means)}, tmp_path / "v.pt")
    found = open_vector(tmp_path / "v.pt").vector
    assert found.layers == tuple(range(12))
    assert all(
        found.direction_D(layer).tolist() == means[f"blocks.{layer}.hook_resid_post"].tolist() for layer in range(12)
    )


def test_what_the_seed_reads(tmp_path: Path) -> None:
    given = complete()
    save_vector(tmp_path / "v.pt", given, "seed")
    found = torch.load(tmp_path / "v.pt", weights_only=True)
    assert list(found) == sorted(f"blocks.{layer}.hook_resid_post" for layer in range(12))
    for layer in range(12):
        row = found[f"blocks.{layer}.hook_resid_post"]
        assert row.dtype == torch.float32
        assert row.numpy().tobytes() == given.direction_D(layer).tobytes()


@pytest.mark.parametrize(
    "value",
    [
        {},
        torch.ones(2, 3),
        {"blocks.0.hook_resid_pre": torch.ones(3)},
        {"blocks.01.hook_resid_post": torch.ones(3)},
        {"blocks.-1.hook_resid_post": torch.ones(3)},
        {"blocks.٣.hook_resid_post": torch.ones(3)},
        {"blocks.0.hook_resid_post": torch.ones(3), "model": "x"},
        {"blocks.0.hook_resid_post": [1.0, 2.0]},
        {0: torch.ones(3)},
    ],
)
def test_other_values(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "v.pt")
    assert not FORMATS["seed"].recognises(tmp_path / "v.pt")
    with pytest.raises(FileError, match=r"v\.pt: expected a dict of tensors under keys like 'blocks\.12"):
        open_vector(tmp_path / "v.pt", "seed")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([torch.ones(3), torch.ones(4)], r"the shapes \(3,\), \(4,\)"),
        ([torch.ones(1, 3), torch.ones(1, 3)], r"the shapes \(1, 3\)"),
        ([torch.ones(()), torch.ones(())], r"the shapes \(\)"),
        ([torch.ones(3), torch.tensor([1, torch.nan, 1])], "NaN or infinity"),
        ([torch.ones(3), torch.full((3,), 1e300, dtype=torch.float64)], "NaN or infinity"),
    ],
)
def test_values_that_are_no_vector(tmp_path: Path, rows: list[torch.Tensor], says: str) -> None:
    torch.save({f"blocks.{layer}.hook_resid_post": row for layer, row in enumerate(rows)}, tmp_path / "v.pt")
    with pytest.raises(VectorError, match=rf"v\.pt: .*{says}"):
        open_vector(tmp_path / "v.pt")


def test_a_layer_that_no_model_has(tmp_path: Path) -> None:
    torch.save({"blocks.4096.hook_resid_post": torch.ones(3)}, tmp_path / "v.pt")
    with pytest.raises(VectorError, match=r"v\.pt: a layer 4096; expected 0 to 4095"):
        open_vector(tmp_path / "v.pt")
    for name in ("seed", "persona-vectors", "assistant-axis", "steering-vectors"):
        with pytest.raises(VectorError, match="a layer 1000000000000; expected"):
            save_vector(tmp_path / "w.pt", partial(layers=(1, 2, 10**12)), name)
    assert not (tmp_path / "w.pt").exists()


def test_narrow_and_wide_numbers(tmp_path: Path) -> None:
    row = torch.tensor([0.1, -2.5, 3.0])
    for kind, noted in ((torch.float16, False), (torch.bfloat16, False), (torch.float64, True)):
        torch.save({"blocks.3.hook_resid_post": row.double().div(3).to(kind)}, tmp_path / "v.pt")
        found = open_vector(tmp_path / "v.pt")
        assert np.array_equal(found.vector.direction_D(3), row.double().div(3).to(kind).float().numpy())
        assert bool(found.notes) == noted
