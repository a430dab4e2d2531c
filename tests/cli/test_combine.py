from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from steer_llama.stages.combine import combine, interference
from steer_llama.vectors import SteeringVector, read_vector, save_vector, unit, write_vector
from tests.cli.command import steer_llama
from tests.vectors.test_algebra import E64, EMOJI, P64, PLAYFUL, made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_vector(tmp_path / "e.safetensors", EMOJI)
    write_vector(tmp_path / "p.safetensors", PLAYFUL)
    return tmp_path


def test_it_writes_the_sum_and_tells_what_it_did(folder: Path) -> None:
    ran = steer_llama(
        "combine", "emoji + 0.5*playful", "--vector", f"emoji={folder}/e.safetensors",
        "--vector", f"playful={folder}/p.safetensors", "-o", folder / "mix.safetensors",
    )  # fmt: skip
    assert (ran.code, ran.err.count("wrote")) == (0, 1)
    found = read_vector(folder / "mix.safetensors")
    np.testing.assert_allclose(found.directions_LD, E64 + 0.5 * P64, rtol=1e-5, atol=1e-6)
    assert (found.trait, found.layers, found.model_fingerprint) == ("emoji + 0.5 * playful", (4, 7, 9), "abc")
    rows = {line.rsplit(maxsplit=3)[0].strip(): line.split()[-3:] for line in ran.out.splitlines() if line.strip()}
    assert rows["layer"] == ["4", "7", "9"]
    assert [float(cell) for cell in rows["‖emoji‖"]] == pytest.approx(np.linalg.norm(E64, axis=1), rel=1e-2)
    assert [float(cell) for cell in rows["‖result‖"]] == pytest.approx(found.evidence["norm"], rel=1e-2)
    told = found.evidence["combination"]
    assert [float(cell) for cell in rows["cosine emoji playful"]] == pytest.approx(
        told["cosines"][0]["cosine"], abs=0.006
    )
    assert [float(cell) for cell in rows["kept of emoji"]] == pytest.approx(told["kept"]["emoji"], abs=0.006)
    assert "emoji and playful: cosine" in ran.out
    assert "no recommendation" in ran.said


def test_the_order_of_layers_in_a_file_is_its_own(folder: Path) -> None:
    turned = replace(PLAYFUL, directions_LD=PLAYFUL.directions_LD[::-1].copy(), layers=(9, 7, 4))
    write_vector(folder / "p.safetensors", turned)
    ran = steer_llama(
        "combine", "p - e", "--vector", f"e={folder}/e.safetensors", "--vector", f"p={folder}/p.safetensors",
        "-o", folder / "mix",
    )  # fmt: skip
    assert ran.code == 0
    found = read_vector(folder / "mix")
    np.testing.assert_allclose(found.direction_D(9), P64[2] - E64[2], rtol=1e-5, atol=1e-6)
    (row,) = [line.split() for line in ran.out.splitlines() if "‖p‖" in line]
    assert [float(cell) for cell in row[1:]] == pytest.approx(np.linalg.norm(P64, axis=1), rel=1e-2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a + b", "--vector", "a=E"], "no vector is called b; there are: a"),
        (["a", "--vector", "a=E", "--vector", "b=P"], "does not use b"),
        (["a", "--vector", "a=E", "--vector", "a=P"], "--vector a=… stands twice"),
        (["a", "--vector", "a"], "expected NAME=FILE"),
        (["a", "--vector", "=E"], "expected NAME=FILE"),
        (["a", "--vector", "a-b=E"], "'a-b' cannot be a name in an expression"),
        (["a", "--vector", "unit=E"], "'unit' cannot be a name"),
        (["a", "--vector", "a=none"], "none: no such file"),
        (["a", "--vector", "a=."], "is a folder"),
        (["a**2", "--vector", "a=E"], "of the operations there are"),
        (["a - a", "--vector", "a=E"], "nothing is left of it; it is zero at every layer"),
        (["a + unit(b)", "--vector", "a=E", "--vector", "b=P"], "is normalised"),
        (["a + b", "--vector", "a=E", "--vector", "b=OTHER"], "different models"),
        (["a", "--vector", "a=E", "--format", "a=foo"], "format 'foo': unknown"),
        (["a", "--vector", "a=E", "--format", "b=steer-llama"], "once for a NAME of --vector"),
        (["a", "--vector", "a=E", "--format", "steer-llama"], "once for a NAME of --vector"),
        (["a"], "--vector"),
    ],
)
def test_what_cannot_be_combined(folder: Path, arguments: list[str], says: str) -> None:
    write_vector(folder / "o.safetensors", made("other", 5, model_fingerprint="xyz"))
    files = {"=E": "e.safetensors", "=P": "p.safetensors", "=OTHER": "o.safetensors", "=none": "none", "=.": "."}
    for short, name in files.items():
        arguments = [
            part.removesuffix(short) + f"={folder / name}" if part.endswith(short) else part for part in arguments
        ]
    ran = steer_llama("combine", *arguments, "-o", folder / "out")
    assert ran.code == 2
    assert says in ran.said
    assert "Traceback" not in ran.err
    assert not (folder / "out").exists()


def test_other_models_and_formats_are_said(folder: Path) -> None:
    write_vector(folder / "o.safetensors", made("other", 5, model_fingerprint="xyz"))
    ran = steer_llama(
        "combine", "e + o", "--vector", f"e={folder}/e.safetensors", "--vector", f"o={folder}/o.safetensors",
        "--format", "e=steer-llama", "--any-model", "-o", folder / "mix",
    )  # fmt: skip
    assert ran.code == 0
    assert "e and o are of different models" in ran.said


def test_a_layer_where_nothing_is_left_is_noted(folder: Path) -> None:
    hole = replace(EMOJI, directions_LD=EMOJI.directions_LD * np.array([[1], [2], [1]], np.float32))
    write_vector(folder / "h", hole)
    found = combine("e - h", {"e": folder / "e.safetensors", "h": folder / "h"})
    assert found.notes == ("zero at layer 4, 9: nothing is left there.",)


def test_interference_is_told_by_the_cosine() -> None:
    def told(one: SteeringVector, other: SteeringVector) -> str:
        (line,) = interference(one + other)
        return line

    apart, along = np.zeros((3, 16), np.float32), np.zeros((3, 16), np.float32)
    apart[:, 0], along[:, 1] = 2, 2
    a, b = made("a", 0, directions_LD=apart), made("b", 0, directions_LD=along)
    assert told(a, b) == "a and b: cosine 0.00 on average (0.00 to 0.00): they hardly interfere"
    c = made("c", 0, directions_LD=apart + along)
    assert "cosine 0.71 on average (0.71 to 0.71): adding one moves the other's trait along; project_out(c, a)" in told(
        a, c
    )
    assert "the other way" in told(a, made("d", 0, directions_LD=along - apart))


def test_a_file_of_two_formats_says_how_to_choose(folder: Path) -> None:
    save_vector(folder / "e.pt", replace(EMOJI, layers=(0, 1, 2)), "assistant-axis")
    arguments = ("combine", "e", "--vector", f"e={folder}/e.pt", "-o", folder / "out")
    ran = steer_llama(*arguments)
    assert ran.code == 2
    assert "Here: --format e=assistant-axis or --format e=persona-vectors." in ran.said
    assert steer_llama(*arguments, "--format", "e=assistant-axis").code == 0
    np.testing.assert_array_equal(read_vector(folder / "out").directions_LD, EMOJI.directions_LD)


def test_a_vector_of_one_part_is_a_vector(folder: Path) -> None:
    ran = steer_llama("combine", "unit(e)[4:8]", "--vector", f"e={folder}/e.safetensors", "-o", folder / "one")
    assert ran.code == 0
    np.testing.assert_allclose(read_vector(folder / "one").directions_LD, unit(EMOJI).directions_LD[:2], rtol=1e-6)


def test_it_says_no_other_format_than_it_writes(folder: Path) -> None:
    ran = steer_llama("combine", "e", "--vector", f"e={folder}/e.safetensors", "-o", folder / "mix.gguf")
    assert ran.code == 2
    assert "steer-llama convert" in ran.said
    assert not (folder / "mix.gguf").exists()


def test_a_parent_is_not_written_over(folder: Path) -> None:
    before = (folder / "e.safetensors").read_bytes()
    ran = steer_llama("combine", "2*e", "--vector", f"e={folder}/e.safetensors", "-o", folder / "e.safetensors")
    assert ran.code == 2
    assert "what is read" in ran.said
    assert (folder / "e.safetensors").read_bytes() == before


def test_without_residual_norms_no_sweep_is_advised(folder: Path) -> None:
    save_vector(folder / "e.pt", EMOJI, "seed")
    ran = steer_llama("combine", "(-e)", "--vector", f"e={folder}/e.pt", "-o", folder / "mix.safetensors")
    assert ran.code == 0
    assert "cannot try it: use --layer and --coefficient" in ran.said
    assert read_vector(folder / "mix.safetensors").direction_D(4)[0] == -EMOJI.direction_D(4)[0]
