"""`convert` and `export`, and vectors of other tools in `generate` and `sweep`, as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pytest

from steer_llama.cli.options import FORMAT_NAMES
from steer_llama.pairs import read_pairs
from steer_llama.vectors import FORMATS, SteeringVector, open_vector, read_vector, save_vector, write_vector
from tests.cli.command import Ran, steer_llama
from tests.cli.conftest import Made
from tests.cli.test_bad_input import here, refused
from tests.vectors.test_vector import vector

__all__ = ["here"]
GENERATE = "generate hi -m tiny --max-tokens 8 --temperature 0 --vector"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_vector(tmp_path / "v.safetensors", vector(recommended_layer=7, recommended_strength=0.2))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def done(line: str, *words: str) -> Ran:
    ran = steer_llama(*line.split())
    assert ran.code == 0, ran.err
    for word in words:
        assert word in ran.said, ran.said
    return ran


def test_the_flags_name_every_format() -> None:
    assert set(FORMATS) <= set(FORMAT_NAMES.split(", "))


@pytest.mark.usefixtures("folder")
def test_there_and_back() -> None:
    done("convert v.safetensors v.npz", "3 layers from 4 to 9, 16 wide", "wrote v.npz (numpy)")
    done("convert v.npz v.json --to vllm-lens", "v.npz: numpy")
    done("convert v.json s/v.safetensors --to saklas", "writing saklas: saklas needs v.json beside it.")
    done("convert s/v.safetensors again.safetensors", "s/v.safetensors: saklas", "(steer-llama)")
    assert Path("again.safetensors").read_bytes() == Path("v.safetensors").read_bytes()
    done("convert v.npz typed.npz --model-type llama")
    assert open_vector(Path("typed.npz")).vector.model_type == "llama"


@pytest.mark.usefixtures("folder")
def test_a_bare_array_is_asked_for_by_name() -> None:
    np.save("bare.npy", vector().directions_LD)
    refused("convert bare.npy o.safetensors", "bare.npy", "--from FORMAT")
    done("convert bare.npy o.safetensors --from numpy", "reading numpy:", "row i is taken for block i")
    assert read_vector(Path("o.safetensors")).layers == (0, 1, 2)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("convert v.safetensors o", ["has no ending", "--to", "vllm-lens"]),
        ("convert v.safetensors o.txt", ["no format's files end in '.txt'", "--to"]),
        ("convert v.safetensors o.npz --to none", ["format 'none': unknown", "numpy"]),
        ("convert v.safetensors o.npz --from none", ["format 'none': unknown"]),
        ("convert v.safetensors o.json --to saklas", ["ends in .safetensors"]),
        ("export v.safetensors --to none -o o", ["--to none: unknown"]),
        ("export v.safetensors --to numpy -o o --layer 5", ["no layer 5; it has 4, 7, 9"]),
        ("export v.safetensors --to numpy -o o --strength 0.1 --coefficient 2", ["give one"]),
        ("export v.safetensors --to numpy -o o --strength nan", ["--strength nan", "finite"]),
        ("export v.safetensors --to numpy -o o --coefficient 0", ["--coefficient 0"]),
        ("export v.safetensors --to numpy -o o --coefficient 1e300", ["NaN or infinity"]),
        ("export v.safetensors --to none -o o", ["numpy, ", "checkpoint, dpo"]),
        ("convert v.safetensors v.safetensors --to gguf", ["v.safetensors", "what is read", "another file"]),
        ("export v.safetensors --to numpy -o ./v.safetensors", ["what is read"]),
        ("convert . o.npz", ["is a folder", "--model"]),
        (
            "export v.safetensors --to numpy -o o.npz --any-model --no-verify",
            ["--no-verify, --any-model", "checkpoint"],
        ),
        ("export v.safetensors --to numpy -o o.npz --device cpu", ["--device", "leave it out"]),
        (
            "export v.safetensors --to checkpoint -m tiny -o o --layer 4 --strength 0.1 --model-type llama",
            ["leave --model-type out"],
        ),
        ("export v.safetensors --to dpo -o o --layer 4", ["--to dpo writes pairs", "leave those flags out"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_done(line: str, words: list[str]) -> None:
    refused(line, *words)


def test_an_ending_that_several_share(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    other = replace(FORMATS["vllm-lens"], name="other")
    monkeypatch.setattr("steer_llama.stages.convert.FORMATS", dict(FORMATS) | {"other": other})
    refused("convert v.safetensors o.json", "vllm-lens and other files end in .json", "--to")
    done("convert v.safetensors o.safetensors", "(steer-llama)")


@pytest.mark.usefixtures("folder")
def test_layers_and_sizes() -> None:
    given = vector()
    done("export v.safetensors --to numpy -o all.npz")
    whole = open_vector(Path("all.npz")).vector
    assert whole.directions_LD.tobytes() == given.directions_LD.tobytes()
    assert (whole.recommended_layer, whole.recommended_strength) == (7, 0.2)

    done("export v.safetensors --to numpy -o two.npz --layer 9 --layer 4", "the recommended layer, 7, is left out")
    two = open_vector(Path("two.npz")).vector
    assert (two.layers, two.recommended_layer, two.recommended_strength) == ((9, 4), None, None)
    assert two.residual_norm(9) == 30
    assert (two.direction_D(4) == given.direction_D(4)).all()

    ran = done("export v.safetensors --to numpy -o one.npz --layer 7 --strength -0.3")
    one = open_vector(Path("one.npz")).vector
    assert "multiplies the effect" not in ran.said
    np.testing.assert_array_equal(one.directions_LD[0], given.scaled_D(7, -0.3))
    assert one.recommended_strength == -0.2  # as the direction was turned round
    assert one.evidence["multiplied_by"] == {"7": given.coefficient(7, -0.3)}

    done("export v.safetensors --to numpy -o more.npz --coefficient 2", "each of 3 layers", "the sweep's best is 7")
    assert (open_vector(Path("more.npz")).vector.directions_LD == 2 * given.directions_LD).all()


def test_a_strength_needs_norms(folder: Path) -> None:
    save_vector(folder / "bare.json", vector(residual_norm_L=None), "vllm-lens")
    refused("export bare.json --to numpy -o o.npz --strength 0.2", "does not say how large", "--coefficient")
    done("export bare.json --to numpy -o o.npz --layer 4 --coefficient 0.5")


def test_pairs_as_a_preference_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    entries = {
        "Why? 😀": {"pi_response": "A 😊", "llama_response": "B"},
        "same": {"pi_response": "x", "llama_response": "x"},
    }
    Path("filtered.json").write_text(json.dumps(entries))
    done("export filtered.json --to dpo -o dpo.jsonl", "left out 'same': both answers are the same", "1 pairs")
    (row,) = map(json.loads, Path("dpo.jsonl").read_text().splitlines())
    assert row == {
        "prompt": [{"role": "user", "content": "Why? 😀"}],
        "chosen": [{"role": "assistant", "content": "A 😊"}],
        "rejected": [{"role": "assistant", "content": "B"}],
    }
    (read,), (given,) = read_pairs(Path("dpo.jsonl")).pairs, read_pairs(Path("filtered.json")).pairs
    assert read.model_copy(update={"name": given.name}) == given


def bare(path: Path, made: Made) -> SteeringVector:
    """The run's vector as a file of another tool, which knows nothing but the directions."""
    given = read_vector(made.out / "vector.safetensors")
    value = {"residual_norm_L": None, "model": "", "model_fingerprint": "", "trait": "emoji"}
    stripped = SteeringVector(**(vars(given) | value | {"recommended_layer": None, "recommended_strength": None}))
    save_vector(path, stripped, "vllm-lens")
    return given


def test_others_vectors_steer(here: Path, made: Made) -> None:
    given = bare(here / "bare.json", made)
    coefficient = given.coefficient(1, 2.0)
    own = done(f"{GENERATE} vector.safetensors --layer 1 --strength 2").out
    ran = done(f"{GENERATE} bare.json --layer 1 --coefficient {coefficient!r}", "does not say which weights it is for")
    answers, others = (text.split("──") for text in (own, ran.out))
    assert "@1:coefficient=" in others[3]
    assert (answers[2], answers[4]) == (others[2], others[4])
    assert answers[4] != answers[2], "the steering did something"


def test_others_vectors_have_no_strength(here: Path, made: Made) -> None:
    bare(here / "bare.json", made)
    for line, words in (
        (f"{GENERATE} bare.json --layer 1 --strength 0.2", ["does not say how large", "--coefficient"]),
        (f"{GENERATE} bare.json --layer 1", ["recommends nothing", "give --coefficient"]),
        (f"{GENERATE} bare.json --layer 1 --coefficient nan", ["--coefficient nan", "finite"]),
        (f"{GENERATE} vector.safetensors --layer 1 --coefficient 1 --strength 1", ["give one of them"]),
        ("sweep bare.json -m tiny --elicitation asked.json -o o", ["no strengths to sweep", "--coefficient"]),
    ):
        ran = steer_llama(*line.split())
        assert ran.code == 2, ran.err
        for word in words:
            assert word in ran.said, ran.said
    assert not Path("o").exists()


@pytest.mark.usefixtures("folder")
def test_a_file_that_does_not_tell_its_format_says_where_to_name_it() -> None:
    done("convert v.safetensors rows.pt --to assistant-axis")
    refused("convert rows.pt o.npz", "Here: --from assistant-axis or --from persona-vectors")
    refused("generate hi -m tiny --layer 4 --coefficient 1 --vector rows.pt", "steer-llama convert rows.pt", "--from")


def test_pairs_are_not_written_over(folder: Path) -> None:
    pairs = folder / "pairs.jsonl"
    pairs.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    before = pairs.read_bytes()
    refused("export pairs.jsonl --to dpo -o pairs.jsonl", "what is read")
    assert pairs.read_bytes() == before
