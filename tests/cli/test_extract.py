"""``extract``: the seed's configuration, flags beside it, and a conversion that is stopped."""

import signal
from pathlib import Path

import h5py
import pytest
import yaml

from tests.cli.command import Ran, Started, steer_llama
from tests.cli.conftest import Made
from tests.cli.small_run import write_json


@pytest.fixture
def config(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The seed's sections, in a folder of their own; the working directory is another one."""
    folder, elsewhere = tmp_path / "config", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    pairs = {f"{n}?": {"pi_response": f"Yes {n}! 😊", "llama_response": f"No {n}."} for n in range(4)}
    write_json(folder / "pairs.json", pairs)
    write_json(elsewhere / "two.json", dict(list(pairs.items())[:2]))
    sections = {
        "model": {"name": "x/y", "device": "cpu", "n_devices": 1, "dtype": "float32", "path": str(made.model)},
        "dataset": {
            "path": "pairs.json",
            "chosen_field": "pi_response",
            "rejected_field": "llama_response",
            "add_system": False,
            "system_prompt": "",
        },
        "output": {"file": "f.h5", "compression": "gzip", "compression_opts": 4},
        "processing": {"save_intermediate": False},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(sections))
    return folder / "config.yaml"


def ran(*argv: object) -> Ran:
    result = steer_llama("extract", *argv)
    assert result.code == 0, result.err
    return result


def names(path: Path) -> list[str]:
    with h5py.File(path, "r") as file:
        return list(file["pairs/name"].asstr())


def test_the_configuration_alone(config: Path) -> None:
    said = ran("--config", config).said
    assert names(config.parent / "f.h5") == ["0?", "1?", "2?", "3?"]
    assert "compression gzip is not used" in said
    assert f"log: {config.parent / 'dpo_activations.log'}" in said
    assert list(Path().iterdir()) == [Path("two.json")]


def test_what_stands_beside_it_wins(config: Path) -> None:
    ran("-c", config, "--set", "dataset.path=two.json", "--set", "extract.layers=[0]", "--set", "output.file=a.h5")
    assert names(Path("a.h5")) == ["0?", "1?"]
    ran("-c", config, "--set", "output.file=a.h5", "-o", "b.h5", "--pairs", "two.json", "--layers", "1,0", "--tokens")
    with h5py.File("b.h5", "r") as file:
        assert (list(file["layers"]), len(file["pairs/name"]), "tokens" in file) == ([0, 1], 2, True)
    assert not (config.parent / "f.h5").exists()


def test_a_system_prompt(config: Path) -> None:
    said = ran("-c", config, "--set", "dataset.system_prompt=Be kind").said
    assert "dataset.system_prompt is not used, as dataset.add_system is false" in said
    ran("-c", config, "-o", "flag.h5", "--system-prompt", "Be kind")
    ran("-c", config, "-o", "set.h5", "--set", "dataset.system_prompt=Be kind", "--set", "dataset.add_system=true")
    starts = []
    for path in (config.parent / "f.h5", Path("flag.h5"), Path("set.h5")):
        with h5py.File(path, "r") as file:
            starts.append(int(file["pairs/chosen_response_start"][0]))
    assert starts[0] < starts[1] == starts[2]


def test_the_seeds_layout_gives_the_same_vector(config: Path) -> None:
    ran("-c", config, "-o", "ours.h5")
    said = ran("-c", config, "--layout", "per_sample", "-o", "seeds.h5").said
    assert "compression gzip is not used" not in said
    for name in ("ours", "seeds"):
        assert steer_llama("fit", f"{name}.h5", "-o", name).code == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ["--pairs", "missing", "--config"]),
        ("--pairs two.json", ["--model", "missing"]),
        ("-c none.yaml", ["none.yaml: no such file"]),
        ("-c CONFIG --set model.n_devices=8", ["model.n_devices", "over GPUs, but the device is 'cpu'"]),
        ("-c CONFIG --set dataset.pth=x", ["dataset.pth", "Did you mean 'path'?"]),
        ("-c CONFIG --set dataset.chosen_field=him", ["'him'"]),
        ("-c CONFIG --set output.layout=flat", ["output.layout", "'pooled' or 'per_sample'"]),
        ("-c CONFIG --layers 0,9", ["no layer 9"]),
        ("-c CONFIG --layers 1.5", ["--layers '1.5'", "whole"]),
        ("-c CONFIG --layers ,", ["extract.layers", "at least 1"]),
        ("-c CONFIG --token-budget 0", ["--token-budget"]),
    ],
)
def test_what_cannot_be_used(config: Path, line: str, words: list[str]) -> None:
    result = steer_llama("extract", *line.replace("CONFIG", str(config)).split())
    assert result.code == 2, result.err
    for word in words:
        assert word in result.said, result.said
    assert "Traceback" not in result.err
    assert sorted(path.name for path in config.parent.iterdir()) == ["config.yaml", "pairs.json"]
    assert list(Path().iterdir()) == [Path("two.json")]


def test_another_configuration_is_refused_until_it_may_overwrite(config: Path) -> None:
    ran("-c", config)
    before = (config.parent / "f.h5").read_bytes()
    refused = steer_llama("extract", "-c", config, "--layers", 0)
    assert refused.code == 2
    for word in ("made with other settings", "now 0", "Name another file with -o", "--overwrite"):
        assert word in refused.said
    assert (config.parent / "f.h5").read_bytes() == before
    assert "Nothing to do" in ran("-c", config).said
    ran("-c", config, "--layers", 0, "--overwrite")
    with h5py.File(config.parent / "f.h5", "r") as file:
        assert list(file["layers"]) == [0]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_conversion_that_is_stopped(config: Path, tmp_path: Path, number: int, code: int) -> None:
    pairs = {f"{n}?": {"pi_response": f"Yes {n}! 😊" * 5, "llama_response": f"No {n}." * 5} for n in range(300)}
    write_json(tmp_path / "many.json", pairs)
    line = ("extract", "-c", config, "--layout", "per_sample", "-o", "s.h5", "--pairs", tmp_path / "many.json")
    running = Started(tmp_path, *line)
    running.wait_until(Path("s.h5.new").exists)
    running.send(number)
    result = running.finish()
    assert (result.code, Path("s.h5").exists()) == (code, False), result.err
    assert "Traceback" not in result.err
    assert not Path("s.h5.new").exists()
    assert "stopped (SIG" in Path("dpo_activations.log").read_text()
    again = ran(*line[1:])
    assert "going on after 300 pairs" in again.said
    with h5py.File("s.h5", "r") as file:
        assert len(file["activations"]) == 600
        assert [file[f"metadata/sample_{n}"].attrs["prompt"] for n in range(300)] == list(pairs)
    assert not Path("s.h5.partial").exists()
