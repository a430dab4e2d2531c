"""The reader of torch's files: against torch itself, and against files that mean harm."""

import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from steer_llama.errors import FileError, InputError
from steer_llama.vectors import open_vector
from steer_llama.vectors.formats.torch_files import StoredTensor, is_torch_file, read_torch, write_torch
from tests.vectors.formats.torch_zip import global_, number, program, tensor, text, torch_zip, tuple_

STORED = np.arange(12, dtype=np.float32)


def numbers(path: Path) -> Any:
    """A file's value with its tensors as float32 arrays."""
    file = read_torch(path)

    def fetched(value: Any) -> Any:
        if isinstance(value, StoredTensor):
            return file.float32(value)
        if isinstance(value, dict):
            return {key: fetched(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(fetched(item) for item in value)
        return value

    return fetched(file.value)


def views() -> dict[Any, torch.Tensor]:
    whole = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0))
    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    return {
        **{str(kind): whole[0].to(kind) for kind in kinds},
        **{f"{kind} view": whole.to(kind)[1:4:2, :, 1] for kind in kinds},
        "transposed": whole[2].T,
        "scalar": whole[0, 0, 0],
        7: whole[3, 1],
        "parameter": torch.nn.Parameter(whole[0]),
        "the same again": whole[3, 1],
        "cropped": whole[-1, -1, -2:],
        "extreme": torch.tensor([torch.finfo(torch.float32).tiny / 8, -0.0, 3e38]),
    }


def test_every_number_is_torchs(tmp_path: Path) -> None:
    torch.save({"nested": [views(), (1, -(2**40), 0.5, None, True, "ü 😀")]}, tmp_path / "t.pt")
    expected = torch.load(tmp_path / "t.pt", weights_only=True)["nested"]
    found = numbers(tmp_path / "t.pt")["nested"]
    assert found[1] == expected[1]
    assert list(found[0]) == list(expected[0])
    for key, tensor_ in expected[0].items():
        assert found[0][key].tobytes() == tensor_.detach().float().numpy().tobytes(), key
        assert found[0][key].shape == tensor_.shape


@pytest.mark.parametrize("value", [OrderedDict(a=torch.ones(2)), torch.nn.Linear(2, 1).state_dict()])
def test_ordered_dicts(tmp_path: Path, value: dict[str, torch.Tensor]) -> None:
    torch.save(value, tmp_path / "t.pt")
    assert {key: row.tolist() for key, row in numbers(tmp_path / "t.pt").items()} == {
        key: row.tolist() for key, row in value.items()
    }


def test_big_endian_files(tmp_path: Path) -> None:
    path = torch_zip(
        tmp_path / "t.pt", program(tensor((12,), (1,), stored=12)), STORED.astype(">f4"), more={"byteorder": b"big"}
    )
    assert numbers(path).tolist() == STORED.tolist()


def test_rounding_is_told(tmp_path: Path) -> None:
    for value, told in ((0.5, False), (0.1, True)):
        torch.save(torch.full((2, 3), value, dtype=torch.float64), tmp_path / "t.pt")
        file = read_torch(tmp_path / "t.pt")
        file.float32(file.value)
        assert bool(file.notes) == told


def test_what_we_write_torch_reads(tmp_path: Path) -> None:
    rows = {"a": STORED.reshape(3, 4), 3: STORED[5:], "b": STORED.reshape(3, 4).T}
    write_torch(tmp_path / "t.pt", rows)
    for mapped in (False, True):
        found = torch.load(tmp_path / "t.pt", weights_only=True, mmap=mapped)
        assert list(found) == list(rows)
        assert all(np.array_equal(found[key].numpy(), rows[key]) for key in rows)
        assert all(found[key].untyped_storage().data_ptr() % 64 == 0 for key in rows)
    write_torch(tmp_path / "again.pt", rows)
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "t.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "t.pt") as archive:
        assert archive.testzip() is None


class Deadly:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


def repacked(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(torch_zip(path, program(tensor((3, 4), (4, 1), stored=12)), STORED).read_bytes()))
    return path


def saved(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def nested_key() -> bytes:
    """A dict's key that takes 2^60 steps to hash."""
    twice = b"".join(pickle.BINPUT + b"\1" + pickle.BINGET + b"\1" + pickle.TUPLE2 for _ in range(60))
    return pickle.EMPTY_DICT + number(1) + twice + pickle.NONE + pickle.SETITEM


def many_builds() -> bytes:
    """Twenty thousand objects that would each copy a dict of twenty thousand items."""
    name = "steering_vectors.steering_vector.SteeringVector"
    state = pickle.EMPTY_DICT + pickle.MARK + b"".join(number(n) + pickle.NONE for n in range(20_000))
    one = pickle.BINGET + b"\0" + pickle.EMPTY_TUPLE + pickle.NEWOBJ + pickle.BINGET + b"\1" + pickle.BUILD
    memo = global_(name) + pickle.BINPUT + b"\0" + state + pickle.SETITEMS + pickle.BINPUT + b"\1"
    return memo + one * 20_000


def two_pickles(path: Path) -> Path:
    torch_zip(path, program(tensor((3, 4), (4, 1), stored=12)), STORED)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", program(pickle.NONE))
    return path


def oversized(whole: bytes) -> bytes:
    """An archive whose directory gives the last entry 2 GiB."""
    at = whole.rindex(struct.pack("<2I", 48, 48))
    return whole[:at] + struct.pack("<2I", 2**31, 2**31) + whole[at + 8 :]


HUGE = 10**12
HARM: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a command": (lambda p: saved(p, Deadly(p.with_name("harm"))), r"asks for '(posix|os)\.system', .*nothing was run"),
    "a command beside tensors": (
        lambda p: saved(p, {"blocks.0.hook_resid_post": torch.ones(2), "x": Deadly(p.with_name("harm"))}),
        "nothing was run",
    ),
    "bytearray": (
        lambda p: torch_zip(p, program(global_("builtins.bytearray"), tuple_(number(10**11)), pickle.REDUCE)),
        "asks for 'builtins.bytearray'",
    ),
    "a tensor by its class": (
        lambda p: torch_zip(p, program(global_("torch.Tensor"), tuple_(number(HUGE)), pickle.REDUCE)),
        "asks for 'torch.Tensor'",
    ),
    "a name put together": (
        lambda p: torch_zip(p, program(text("os"), text("system"), b"\x93")),
        "a step STACK_GLOBAL",
    ),
    "an expanded tensor": (lambda p: saved(p, torch.ones(8).expand(10**9, 8)), r"expanded .*clone"),
    "overlapping rows": (
        lambda p: torch_zip(p, program(tensor((9, 4), (1, 1), stored=12)), STORED),
        "36 numbers is spread over 12",
    ),
    "a tensor that reaches too far": (
        lambda p: torch_zip(p, program(tensor((3, 4), (4, 1), stored=12, offset=1)), STORED),
        "reaches number 12 of 12",
    ),
    "a negative offset": (
        lambda p: torch_zip(p, program(tensor((3, 4), (4, 1), stored=12, offset=-1)), STORED),
        "its pickle is damaged",
    ),
    "a negative stride": (
        lambda p: torch_zip(p, program(tensor((3, 4), (4, -1), stored=12, offset=4)), STORED),
        "its pickle is damaged",
    ),
    "numbers that are not there": (
        lambda p: torch_zip(p, program(tensor((10**4, 4), (4, 1), stored=4 * 10**4)), STORED),
        "declares 40000 stored numbers",
    ),
    "very many numbers that are not there": (
        lambda p: torch_zip(p, program(tensor((HUGE, 4), (4, 1), stored=4 * HUGE)), STORED),
        "no steering vector",
    ),
    "a storage that is not there": (
        lambda p: torch_zip(p, program(tensor((3, 4), (4, 1), stored=12, key="9")), STORED),
        "lacks 'data/9'",
    ),
    "whole numbers": (lambda p: saved(p, torch.ones(2, 3, dtype=torch.int64)), r"asks for 'torch.LongStorage'"),
    "a zip bomb": (
        lambda p: torch_zip(
            p,
            program(tensor((2**14, 2**12), (2**12, 1), stored=2**26)),
            np.zeros(2**22, np.float32),
            method=zipfile.ZIP_DEFLATED,
        ),
        "compressed",
    ),
    "a key that takes for ever": (
        lambda p: torch_zip(p, program(nested_key())),
        "keys that are neither text nor whole",
    ),
    "copies without end": (lambda p: torch_zip(p, program(many_builds())), "an object of steering_vectors"),
    "a huge pickle": (lambda p: torch_zip(p, pickle.NONE * (1 << 23)), "its pickle has 8388608 bytes"),
    "no end": (lambda p: torch_zip(p, pickle.NONE * 9), "its pickle is damaged"),
    "two pickles": (two_pickles, "holds one data.pkl"),
    "something in front": (lambda p: repacked(p, lambda whole: b"PK\3\4/data.pkl" + whole), "damaged"),
    "something behind": (lambda p: repacked(p, lambda whole: whole + b"x"), "no end"),
    "cut short": (lambda p: repacked(p, lambda whole: whole[:-30]), "no end"),
    "a size that is not there": (lambda p: repacked(p, oversized), "claims 2147483648 bytes, more than the file has"),
    "many entries declared": (
        lambda p: repacked(p, lambda whole: whole[:-14] + b"\xff\xff\xff\xff" + whole[-10:]),
        "declares 65535 entries and has 2",
    ),
    "an old file": (
        lambda p: (torch.save(torch.ones(2, 3), p, _use_new_zipfile_serialization=False), p)[1],
        "save it again with torch.save",
    ),
    "a plain pickle": (lambda p: (p.write_bytes(pickle.dumps(Deadly(p.with_name("harm")))), p)[1], "was not run"),
    "an expected protocol": (lambda p: (torch.save(torch.ones(2, 3), p, pickle_protocol=4), p)[1], "protocol 4"),
}


@pytest.mark.parametrize("harm", HARM)
def test_files_that_mean_harm(tmp_path: Path, harm: str) -> None:
    make, says = HARM[harm]
    path = make(tmp_path / "t.pt")
    assert is_torch_file(path)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=says) as caught:
            open_vector(path, "assistant-axis")
        assert tracemalloc.get_traced_memory()[1] < 2**26, "little was allocated"
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    with pytest.raises(InputError):
        open_vector(path)
    assert not (tmp_path / "harm").exists()


def test_absurd_shapes(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "t.pt", program(tensor((1, 12), (2**100, 1), stored=12)), STORED)
    assert numbers(path).tolist() == [STORED.tolist()]
    for shape in ((0, 12), (2**70, 0)):
        path = torch_zip(tmp_path / "t.pt", program(tensor(shape, (1, 1), stored=12)), STORED)
        with pytest.raises(FileError, match="has no numbers"):
            numbers(path)


def test_two_entries_of_one_name(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        torch_zip(tmp_path / "t.pt", program(pickle.NONE), more={"data.pkl": program(pickle.NEWTRUE)})
    with pytest.raises(FileError, match=r"two entries of the name 'archive/data\.pkl'"):
        read_torch(tmp_path / "t.pt")


def test_damaged_numbers_are_noticed(tmp_path: Path) -> None:
    torch.save(torch.ones(3, 4), tmp_path / "t.pt")
    content = bytearray((tmp_path / "t.pt").read_bytes())
    content[content.index(struct.pack("<12f", *[1] * 12)) + 7] ^= 1
    (tmp_path / "t.pt").write_bytes(content)
    with pytest.raises(FileError, match=r"'data/0' is damaged: .*checksum"):
        numbers(tmp_path / "t.pt")


def test_other_files_are_not_torchs(tmp_path: Path) -> None:
    np.savez(tmp_path / "numpy.npz", data=STORED)
    # The length of its header begins with the two bytes of a pickle.
    save_file({"x": STORED}, tmp_path / "s", metadata={"pad": "x" * (0x280 - 83)})
    assert (tmp_path / "s").read_bytes()[:2] == b"\x80\2"
    (tmp_path / "empty").touch()
    for name in ("numpy.npz", "s", "empty", "missing", "."):
        assert not is_torch_file(tmp_path / name)
        with pytest.raises(FileError, match=str(tmp_path)):
            read_torch(tmp_path / name)
