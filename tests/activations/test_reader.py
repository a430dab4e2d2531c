"""Files that are not what they should be, and the seed's own layout."""

import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from steer_llama.activations import PositionChoice, open_activations
from steer_llama.config import FitSettings
from steer_llama.errors import ConfigError, FileError, RecordError, SteerLlamaError
from steer_llama.progress import SilentReporter
from steer_llama.stages.fit import fit
from tests.activations.test_writer import write
from tests.activations.tiny import made_up_layout

BOTH = PositionChoice("response", "response")


def refused(path: Path, choice: PositionChoice, kind: type[SteerLlamaError], says: str) -> None:
    with pytest.raises(kind, match=says), open_activations(path, choice) as data:
        data.means("chosen", data.layers[0])
        data.residual_norm(data.layers[0])


def test_files_that_are_no_activations(tmp_path: Path) -> None:
    refused(tmp_path / "none.h5", BOTH, FileError, r"none\.h5: no such file \(expected activations")
    (tmp_path / "text.h5").write_text("hello")
    refused(tmp_path / "text.h5", BOTH, FileError, r"text\.h5: not a file of activations.*Extract again")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = [1]
    refused(tmp_path / "other.h5", BOTH, FileError, "an HDF5 file, but not activations; it holds x")
    with h5py.File(tmp_path / "dataset.h5", "w") as file:
        file["activations"] = np.zeros((3, 3))
    refused(tmp_path / "dataset.h5", BOTH, FileError, "not activations; it holds activations")


def test_positions_that_were_not_extracted(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", made_up_layout())
    refused(
        tmp_path / "a.h5",
        PositionChoice("response", "markdown"),
        ConfigError,
        r"holds no positions 'markdown' \(only emoji, response\)\. Extract with --positions",
    )


@pytest.mark.parametrize("name", ["means", "pairs", "pairs/name", "layers", "pairs_done", "residual_norm/chosen"])
def test_a_part_that_is_missing(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.h5", made_up_layout())
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file[name]
    refused(tmp_path / "a.h5", BOTH, FileError, r"a\.h5: not a file of activations, or a damaged one")


def test_another_version(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", made_up_layout())
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["version"] = 1
    refused(tmp_path / "a.h5", BOTH, FileError, "version 1 of the format; this program reads 2 and 3")


def test_a_file_that_was_cut(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", made_up_layout())
    content = (tmp_path / "a.h5").read_bytes()
    draw = random.Random(0)
    for _ in range(20):
        (tmp_path / "cut.h5").write_bytes(content[: draw.randrange(len(content))])
        refused(tmp_path / "cut.h5", BOTH, FileError, r"cut\.h5: ")


def cut(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        values = file[name][..., :-1]
        attributes = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(attributes)

    return change


def filled(name: str, value: float) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][...] = value

    return change


def renamed_bits(file: h5py.File) -> None:
    file["answers/chosen/masks"].attrs["bits"] = ["x", "y"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (cut("means/response/chosen"), r"\(30, 7\) and \(30, 8\) means at layer 0, expected 30 pairs of one width"),
        (cut("answers/chosen/offsets"), "its parts do not fit each other"),
        (cut("answers/rejected/masks"), "its parts do not fit each other"),
        (filled("answers/chosen/masks", 0), "an answer of answers/chosen has no response tokens"),
        (filled("residual_norm/chosen", np.nan), "residual norms that are not positive and finite at layer 0"),
        (filled("means/response/chosen_tokens", 0), "residual norms that are not positive"),
        (renamed_bits, "'response' is not in list"),
    ],
)
def test_what_does_not_fit_is_our_error(tmp_path: Path, change: Callable[[h5py.File], None], says: str) -> None:
    write(tmp_path / "a.h5", made_up_layout(30))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        change(file)
        if "not positive" in says:
            file["residual_norm/rejected"][...] = 0
    with pytest.raises(FileError, match=says):
        fit(tmp_path / "a.h5", FitSettings(match=("length",), bootstrap=0), "t", SilentReporter())


SEED_SAMPLES = 12
LAYERS = (0, 2, 10)


def seed_file(path: Path, divergence: str | None = None, form: str = "group") -> dict[tuple[int, str, int], np.ndarray]:
    """A file as the seed writes it; sample i has 3 + i chosen and 4 rejected tokens, and diverges 2 tokens in."""
    random = np.random.default_rng(0)
    tokens = {}
    with h5py.File(path, "w") as file:
        for sample in range(SEED_SAMPLES):
            for arm, length in (("chosen", 3 + sample), ("rejected", 4)):
                for layer in LAYERS:
                    values = random.standard_normal((1, length, 8)).astype(np.float32)
                    name = f"activations/sample_{sample}_{arm}/blocks.{layer}.hook_resid_post"
                    file.create_dataset(name, data=values, compression="gzip")
                    tokens[sample, arm, layer] = values[0]
            where = f"metadata/sample_{sample}"
            facts = file.create_group(where) if form == "group" else file.create_dataset(where, data=np.zeros(1))
            facts.attrs.update(response_start_idx=20, chosen_length=23 + sample, rejected_length=24)
            if divergence:
                facts.attrs[divergence] = 22
    return tokens


@pytest.mark.parametrize("form", ["group", "dataset"])
@pytest.mark.parametrize("divergence", [None, "divergence_index", "divergence_idx"])
def test_the_seeds_layout(tmp_path: Path, divergence: str | None, form: str) -> None:
    tokens, begin = seed_file(tmp_path / "a.h5", divergence, form), 2 if divergence else 0
    with open_activations(tmp_path / "a.h5", PositionChoice("response", "divergence")) as data:
        assert data.layers == LAYERS  # by number, not "0, 10, 2"
        assert data.n_pairs == SEED_SAMPLES
        for layer in LAYERS:
            for sample in range(SEED_SAMPLES):  # by number, not "0, 1, 10, 11, 2"
                chosen, rejected = (tokens[sample, arm, layer][begin:] for arm in ("chosen", "rejected"))
                np.testing.assert_allclose(
                    data.means("chosen", layer)[sample], chosen.mean(axis=0), rtol=1e-6, atol=1e-6
                )
                np.testing.assert_array_equal(data.means("rejected", layer)[sample], rejected[0])
            norms = [
                np.linalg.norm(tokens[s, arm, layer][begin:], axis=1)
                for s in range(SEED_SAMPLES)
                for arm in ("chosen", "rejected")
            ]
            assert data.residual_norm(layer) == pytest.approx(np.concatenate(norms).mean())
        assert data.fallbacks("chosen") == 0


def test_a_vector_from_the_seeds_layout(tmp_path: Path) -> None:
    tokens = seed_file(tmp_path / "a.h5")
    vector = fit(tmp_path / "a.h5", FitSettings(bootstrap=10), "t", SilentReporter())
    assert (vector.layers, vector.model, vector.model_fingerprint) == (LAYERS, "", "")
    for row, layer in enumerate(LAYERS):
        differences = [
            tokens[s, "chosen", layer].mean(axis=0) - tokens[s, "rejected", layer].mean(axis=0)
            for s in range(SEED_SAMPLES)
        ]
        np.testing.assert_allclose(vector.directions_LD[row], np.mean(differences, axis=0), rtol=1e-4, atol=1e-6)
    vector.check_fits("any", "any", 11, 8)


def test_the_seeds_layout_without_metadata(tmp_path: Path) -> None:
    tokens = seed_file(tmp_path / "a.h5", "divergence_idx")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file["metadata"]
    with open_activations(tmp_path / "a.h5", BOTH) as data:
        np.testing.assert_allclose(data.means("chosen", 2)[0], tokens[0, "chosen", 2].mean(axis=0), atol=1e-6)


def without(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def replaced(name: str, values: np.ndarray) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = values

    return change


LAST = "activations/sample_11_chosen/blocks.0.hook_resid_post"


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (without("activations/sample_3_rejected"), RecordError, "sample_3_rejected is missing"),
        (without("activations/sample_3_chosen"), RecordError, "sample_3_chosen is missing"),
        (without(LAST), RecordError, "sample_11_chosen holds other layers"),
        (replaced(LAST, np.zeros((2, 3, 8))), RecordError, r"sample_11_chosen: shape \(2, 3, 8\), expected"),
        (replaced(LAST, np.zeros((1, 2, 8))), RecordError, "sample_11_chosen: no tokens after the divergence"),
        (replaced(LAST, np.zeros((1, 3, 9))), RecordError, "different widths at layer 0"),
        (replaced(LAST, np.array(["x"], dtype=object)), FileError, "damaged"),
        (replaced("activations/sample_0_chosen", np.zeros(3)), FileError, "damaged"),
    ],
)
def test_the_seeds_layout_when_it_is_broken(
    tmp_path: Path, change: Callable[[h5py.File], None], kind: type[SteerLlamaError], says: str
) -> None:
    seed_file(tmp_path / "a.h5", "divergence_idx")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        change(file)
    refused(tmp_path / "a.h5", BOTH, kind, says)


@pytest.mark.parametrize("positions", ["emoji", "markdown", "non_alphabetic"])
def test_marks_cannot_be_found_in_the_seeds_layout(tmp_path: Path, positions: str) -> None:
    seed_file(tmp_path / "a.h5")
    refused(
        tmp_path / "a.h5",
        PositionChoice("response", positions),
        ConfigError,
        f"the seed's layout, which holds no text, so '{positions}' cannot be found in it",
    )
