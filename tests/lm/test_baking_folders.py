"""What a baked folder holds, where it may be made, and that half of one never appears."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from steer_llama.errors import FileError, ModelError, StorageError
from steer_llama.lm.baking import bake_checkpoint, check_tokenizers, open_checkpoint, writing
from steer_llama.lm.baking.checkpoint import INDEX, SINGLE
from steer_llama.lm.baking.new_folder import new_folder
from steer_llama.progress import SilentReporter
from tests.lm.baking_models import BAKEABLE, opened, save_model, save_random
from tests.lm.models import byte_level, save_tiny_llama
from tests.lm.test_baking import TOLERANCE, furthest, logits, vector


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """Read by the index where there is one, and each tensor once."""
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            assert name not in found, f"{name} stands twice"
            found[name] = tensor
    if (folder / INDEX).exists():
        weight_map = json.loads((folder / INDEX).read_text())["weight_map"]
        assert set(weight_map) == set(found)
        for name, shard in weight_map.items():
            with safe_open(folder / shard, framework="pt") as file:
                assert name in set(file.keys())
    return found


def bake(source: Path, out: Path, layer: int = 1) -> list[str]:
    reporter = SilentReporter()
    bake_checkpoint(source, {layer: vector()}, out, reporter)
    return reporter.notes


@pytest.mark.parametrize("kind", ["llama", "llama tied", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sharded", [True, False])
def test_every_other_tensor_is_as_it_was(kind: str, dtype: torch.dtype, sharded: bool, tmp_path: Path) -> None:
    how: dict[str, Any] = {"max_shard_size": "8KB"} if sharded else {}
    source = save_random(tmp_path / "source", kind, dtype, **how)
    assert (len(list(source.glob("*.safetensors"))) > 2) == sharded
    bake(source, tmp_path / "baked")
    before, after = tensors_of(source), tensors_of(tmp_path / "baked")
    biases = {name for name in after if ".mlp." in name and name.endswith(".bias")}
    assert {name for name in before if name not in after} == set()
    assert set(after) - set(before) <= biases
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed == ({"transformer.h.1.mlp.c_proj.bias"} if kind == "gpt2" else set())
    assert all(tensor.dtype == dtype for tensor in after.values())
    if kind != "gpt2":
        assert {name for name in biases if after[name].any()} == {"model.layers.1.mlp.down_proj.bias"}
    if kind == "llama tied":
        assert "lm_head.weight" not in after
        hf = opened(tmp_path / "baked").hf
        assert hf.get_output_embeddings().weight is hf.get_input_embeddings().weight
    if dtype == torch.float32:
        expected = logits(opened(source), {1: vector()})
        assert furthest(logits(opened(tmp_path / "baked"), {}), expected) <= TOLERANCE


def test_the_names_and_the_index(tmp_path: Path) -> None:
    one = save_random(tmp_path / "one", "llama")
    bake(one, tmp_path / "a")
    assert names(tmp_path / "a") == [
        *["README.md", "config.json", "generation_config.json"],
        *["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", INDEX],
    ]
    many = save_random(tmp_path / "many", "llama", max_shard_size="30KB")
    n_shards = len(list(many.glob("*.safetensors")))
    bake(many, tmp_path / "b")
    shards = [f"model-{i + 1:05d}-of-{n_shards + 1:05d}.safetensors" for i in range(n_shards + 1)]
    assert sorted(path.name for path in (tmp_path / "b").glob("*.safetensors")) == shards
    for folder, source in ((tmp_path / "a", one), (tmp_path / "b", many)):
        index = json.loads((folder / INDEX).read_text())
        tensors = tensors_of(folder)
        assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())
        if source is many:
            assert index["metadata"]["total_parameters"] == sum(tensor.numel() for tensor in tensors.values())
        # The old weights are the same bytes.
        (old, *_), (new, *_) = sorted(source.glob("*.safetensors")), sorted(folder.glob("*.safetensors"))
        assert old.read_bytes() == new.read_bytes()
        assert json.loads((folder / "config.json").read_text()) == {
            **json.loads((source / "config.json").read_text()),
            "mlp_bias": True,
        }
    # Where the biases are there already, the files keep their names.
    gpt2 = save_random(tmp_path / "gpt2", "gpt2", max_shard_size="30KB")
    bake(gpt2, tmp_path / "c")
    assert names(tmp_path / "c") == sorted([*names(gpt2), "README.md"])
    assert (tmp_path / "c" / INDEX).read_text().split() == (gpt2 / INDEX).read_text().split()


def test_transformers_has_nothing_to_complain_about(tmp_path: Path) -> None:
    for kind in ("llama", "qwen2", "granite", "gpt2"):
        source = save_random(tmp_path / f"{kind}-source", kind, max_shard_size="30KB")
        bake(source, tmp_path / kind)
        _, said = AutoModelForCausalLM.from_pretrained(tmp_path / kind, output_loading_info=True)
        assert not any(said.values()), said


def test_names_without_the_first_part(tmp_path: Path) -> None:
    """As the hub's own gpt2 has them."""
    source = save_random(tmp_path / "source", "gpt2")
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(source / SINGLE).items()}
    save_file(tensors, source / SINGLE, metadata={"format": "pt"})
    bake(source, tmp_path / "baked")
    expected = logits(opened(source), {1: vector()})
    assert furthest(logits(opened(tmp_path / "baked"), {}), expected) <= TOLERANCE


def test_other_files_come_along_and_other_weights_do_not(tmp_path: Path) -> None:
    source = save_tiny_llama(tmp_path / "source")
    (source / "LICENSE").write_text("yes")
    (source / "README.md").write_text("---\nlicense: mit\n---\n# Base")
    (source / "sub").mkdir()
    (source / "sub" / "template.jinja").write_text("{{ messages }}")
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("")
    (source / "steer-llama.json").write_text("{}")
    for name in ("pytorch_model.bin", "consolidated.safetensors", "params.json", "sub/x.gguf"):
        (source / name).write_text("weights")
    notes = bake(source, tmp_path / "baked")
    assert {path for path in names(tmp_path / "baked") if not path.startswith("model")} == {
        *["LICENSE", "README.base.md", "README.md", "config.json", "generation_config.json", "sub/template.jinja"],
        *["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"],
    }
    assert (tmp_path / "baked" / "README.base.md").read_text().endswith("# Base")
    (note,) = [note for note in notes if "not copied" in note]
    for name in ("pytorch_model.bin", "consolidated.safetensors", "params.json", "sub/x.gguf"):
        assert name in note


def test_a_cache_of_symbolic_links(tmp_path: Path) -> None:
    """As huggingface_hub lays its snapshots out."""
    blobs = save_tiny_llama(tmp_path / "blobs")
    snapshot = tmp_path / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(os.path.relpath(path, snapshot))
    before = {path.name: path.read_bytes() for path in blobs.iterdir()}
    bake(snapshot, tmp_path / "baked")
    assert not any(path.is_symlink() for path in (tmp_path / "baked").iterdir())
    assert {path.name: path.read_bytes() for path in blobs.iterdir()} == before, "the cache is untouched"
    bake(save_links(save_random(tmp_path / "gpt2", "gpt2"), tmp_path / "links"), tmp_path / "baked-gpt2")
    assert "transformer.h.1.mlp.c_proj.bias" in tensors_of(tmp_path / "gpt2")


def save_links(folder: Path, links: Path) -> Path:
    links.mkdir()
    for path in folder.iterdir():
        (links / path.name).symlink_to(path)
    return links


def damaged(source: Path, name: str) -> None:  # noqa: PLR0912 - one case a line
    shard = next(iter(sorted(source.glob("*.safetensors"))))
    config = json.loads((source / "config.json").read_text())
    match name:
        case "no config":
            (source / "config.json").unlink()
        case "config is a list":
            (source / "config.json").write_text("[1]")
        case "config is no JSON":
            (source / "config.json").write_text("{")
        case "only bin":
            for path in source.glob("*.safetensors*"):
                path.unlink()
            (source / "pytorch_model.bin").write_bytes(b"x")
        case "only gguf":
            for path in source.glob("*.safetensors*"):
                path.unlink()
            (source / "m.gguf").write_bytes(b"x")
        case "quantised":
            (source / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
        case "adapter":
            (source / "adapter_config.json").write_text("{}")
        case "truncated":
            shard.write_bytes(shard.read_bytes()[:-10])
        case "huge header":
            shard.write_bytes(b"\xff" * 7 + b"\x7f" + shard.read_bytes()[8:])
        case "empty shard":
            shard.write_bytes(b"")
        case "missing shard":
            shard.unlink()
        case "index leads out":
            index = json.loads((source / INDEX).read_text())
            first = next(iter(index["weight_map"]))
            index["weight_map"][first] = "../other.safetensors"
            (source / INDEX).write_text(json.dumps(index))
        case "index is wrong":
            index = json.loads((source / INDEX).read_text())
            (a, b) = sorted(set(index["weight_map"].values()))[:2]
            first = next(name for name, shard in index["weight_map"].items() if shard == a)
            index["weight_map"][first] = b
            (source / INDEX).write_text(json.dumps(index))
        case "index without a map":
            (source / INDEX).write_text("{}")
        case "another config":
            (source / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
        case "8-bit tensors":
            tensors = load_file(source / SINGLE)
            tensors["model.layers.1.mlp.down_proj.weight"] = torch.zeros(32, 48, dtype=torch.int8)
            save_file(tensors, source / SINGLE)


@pytest.mark.parametrize(
    ("name", "sharded", "said"),
    [
        ("no config", False, "holds no config.json"),
        ("config is a list", False, "a JSON list"),
        ("config is no JSON", False, "not JSON"),
        ("only bin", False, r"\.bin files \(pickles\) only.*save_pretrained"),
        ("only gguf", False, "GGUF weights only"),
        ("quantised", False, "quantised.*unquantised model"),
        ("adapter", False, "LoRA adapter"),
        ("truncated", True, "damaged or incomplete"),
        ("huge header", False, "damaged or incomplete"),
        ("empty shard", False, "damaged or incomplete"),
        ("missing shard", True, "is missing, which"),
        ("index leads out", True, "names '../other.safetensors'"),
        ("index is wrong", True, "where it is not"),
        ("index without a map", True, "no 'weight_map'"),
        ("another config", False, "not in all 4 layers"),
        ("8-bit tensors", False, "is I8; only"),
    ],
)
def test_folders_that_are_refused(name: str, sharded: bool, said: str, tmp_path: Path) -> None:
    how: dict[str, Any] = {"max_shard_size": "8KB"} if sharded else {}
    source = save_random(tmp_path / "source", "llama", **how)
    damaged(source, name)
    with pytest.raises((ModelError, FileError), match=said):
        bake(source, tmp_path / "baked")
    assert not (tmp_path / "baked").exists()


def test_a_gguf_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="GGUF file cannot be baked"):
        open_checkpoint(tmp_path / "m.gguf")


def test_what_is_in_the_way_is_left_alone(tmp_path: Path) -> None:
    source = save_random(tmp_path / "source", "llama")
    before = names(source)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for out, said in (
        (source, "not empty"),
        (tmp_path / "full", "not empty"),
        (tmp_path / "file", "in the way"),
        (tmp_path / "file" / "below", "file"),
    ):
        with pytest.raises(StorageError, match=said):
            bake(source, out)
    assert names(source) == before
    (tmp_path / "empty").mkdir()
    bake(source, tmp_path / "empty")
    bake(source, tmp_path / "new" / "deeper")
    assert names(tmp_path / "empty") == names(tmp_path / "new" / "deeper")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    bake(source, tmp_path / "link")
    assert names(tmp_path / "elsewhere") == names(tmp_path / "empty")
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o777 & ~umask()
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "empty").iterdir()} == {0o666 & ~umask()}


def umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save_random(tmp_path / "source", "llama")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StorageError, match=r"needs 0\.0 GB, and 0\.0 GB are free"):
        bake(source, tmp_path / "baked")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_check_that_fails_leaves_nothing(tmp_path: Path) -> None:
    source = save_random(tmp_path / "source", "llama")
    seen = []

    def finish(folder: Path) -> str:
        seen.extend(names(folder))
        raise ModelError("no")

    with pytest.raises(ModelError, match="no"):
        bake_checkpoint(source, {1: vector()}, tmp_path / "baked", SilentReporter(), finish)
    assert "config.json" in seen
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def baking_in_a_child(source: Path, out: Path, reached: Path) -> int:
    """A process that has written all but the card, and waits; returns its number."""

    def finish(_: Path) -> str:
        reached.touch()
        time.sleep(600)
        return ""

    pid = os.fork()
    if pid == 0:
        try:
            bake_checkpoint(source, {1: vector()}, out, SilentReporter(), finish)
        finally:
            os._exit(1)  # a child must not go on with the parent's tests
    end = time.monotonic() + 120
    while not reached.exists():
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), "it ended by itself"
        assert time.monotonic() < end
        time.sleep(0.01)
    return pid


def test_kill_minus_nine_leaves_no_folder_and_the_next_run_clears_up(tmp_path: Path) -> None:
    source, out = save_random(tmp_path / "source", "llama"), tmp_path / "out" / "baked [1]*"
    first = baking_in_a_child(source, out, tmp_path / "first")
    second = baking_in_a_child(source, out, tmp_path / "second")
    try:
        assert len(list(out.parent.iterdir())) == 2, "two runs at once do not disturb each other"
        os.kill(first, signal.SIGKILL)
        os.waitpid(first, 0)
        assert not out.exists()
        bake(source, out)
        left = [path for path in out.parent.iterdir() if path != out]
        assert len(left) == 1, "the killed run's is cleared, the living one's is left"
    finally:
        os.kill(second, signal.SIGKILL)
        os.waitpid(second, 0)
    shutil.rmtree(out)
    bake(source, out)
    assert list(out.parent.iterdir()) == [out]
    assert opened(out).n_layers == 3


def test_somebody_else_was_faster(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="meanwhile"), new_folder(tmp_path / "out") as scratch:
        (scratch / "mine").touch()
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").touch()
    assert names(tmp_path) == ["out/theirs"]


def test_weights_pass_through_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor but the biases is read, and no file in one piece."""
    monkeypatch.setattr(writing, "_BLOCK", 1000)
    largest = 0
    read = Path.open

    def spying(self: Path, *args: Any, **kwargs: Any) -> Any:
        file = read(self, *args, **kwargs)
        if self.parent.name == "source" and self.suffix == ".safetensors":
            whole = file.read

            def counted(size: int = -1) -> bytes:
                nonlocal largest
                content: bytes = whole(size)
                largest = max(largest, len(content))
                return content

            monkeypatch.setattr(file, "read", counted, raising=False)
        return file

    for kind in ("llama", "gpt2"):
        source = save_random(tmp_path / kind / "source", kind)
        header = int.from_bytes((source / SINGLE).read_bytes()[:8], "little")
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", spying)
            largest = 0
            bake(source, tmp_path / kind / "baked")
        assert 0 < largest <= max(1000, header)
        expected = logits(opened(source), {1: vector()})
        assert furthest(logits(opened(tmp_path / kind / "baked"), {}), expected) <= TOLERANCE


@pytest.mark.parametrize("model_type", ["mistral", "qwen2"])
def test_the_tokenizer_stays_what_it_was(model_type: str, tmp_path: Path) -> None:
    source = save_model(tmp_path / "source", model_type, BAKEABLE[model_type][1])
    byte_level().save_pretrained(source)
    if model_type == "qwen2":
        # transformers ignores what the file says of the tokenizer's class where a Qwen2 has it, and only there.
        bake(source, tmp_path / "other")
        with pytest.raises(ModelError, match="another tokenizer"):
            check_tokenizers(source, tmp_path / "other")
        AutoTokenizer.from_pretrained(source).save_pretrained(source)
    bake(source, tmp_path / "baked")
    assert json.loads((tmp_path / "baked" / "config.json").read_text())["model_type"] == "llama"
    check_tokenizers(source, tmp_path / "baked")
    byte_level(300).save_pretrained(tmp_path / "baked")
    with pytest.raises(ModelError, match="another tokenizer"):
        check_tokenizers(source, tmp_path / "baked")


def test_the_vector_is_not_rounded_on_the_way(tmp_path: Path) -> None:
    source = save_random(tmp_path / "source", "llama")
    bake(source, tmp_path / "baked")
    found = tensors_of(tmp_path / "baked")["model.layers.1.mlp.down_proj.bias"].numpy()
    np.testing.assert_array_equal(found, vector())
