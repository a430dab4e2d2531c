"""GGUF headers from anybody: as the ``gguf`` package reads them, and with an error of ours where they lie."""

import random
import resource
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import numpy as np
import pytest

from steer_llama.errors import FileError, InputError
from steer_llama.vectors import open_vector, save_vector
from steer_llama.vectors.formats.gguf_header import read_header
from tests.vectors.formats.gguf_files import rows, write_gguf
from tests.vectors.formats.test_gguf import FULL
from tests.vectors.test_vector import vector


def text(content: str) -> bytes:
    return struct.pack("<Q", len(content.encode())) + content.encode()


def file_of(values: bytes = b"", tensors: bytes = b"", *, counts: tuple[int, int] = (0, 0), version: int = 3) -> bytes:
    """The beginning of a file; ``counts`` are those of the tensors and of the values."""
    return b"GGUF" + struct.pack("<IQQ", version, *counts) + values + tensors


@contextmanager
def bounded(seconds: int, megabytes: int) -> Iterator[None]:
    """Fails instead of hanging, or of filling the memory."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, hard))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


HUGE = 2**63
DAMAGED = {
    "nothing after the mark": (b"GGUF", "cut off or damaged"),
    "version 1": (file_of(version=1), "GGUF of version 1; expected 2 or 3"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "GGUF of version 50331648"),
    "tensors without end": (file_of(counts=(HUGE, 0)), f"{HUGE} tensors at byte"),
    "values without end": (file_of(counts=(0, HUGE)), f"{HUGE} values at byte"),
    "many values": (file_of(bytes(13 * 70_000), counts=(0, 70_000)), "70000 values; at most 65536"),
    "a key without end": (file_of(struct.pack("<Q", HUGE) + bytes(20), counts=(0, 1)), f"a name of {HUGE} bytes"),
    "a text without end": (file_of(text("a") + struct.pack("<IQ", 8, HUGE), counts=(0, 1)), "a text at byte"),
    "a text of no characters": (
        file_of(text("a") + struct.pack("<IQ", 8, 2) + b"\xff\xfe", counts=(0, 1)),
        "not UTF-8",
    ),
    # The gguf package goes round 2⁶³ times here.
    "an array without end": (file_of(text("a") + struct.pack("<IIQ", 9, 0, HUGE), counts=(0, 1)), "an array of"),
    "texts without end": (file_of(text("a") + struct.pack("<IIQ", 9, 8, HUGE), counts=(0, 1)), "texts at byte"),
    "a nested array": (file_of(text("a") + struct.pack("<IIQIQ", 9, 9, 1, 9, 1), counts=(0, 1)), "a value of type 9"),
    "an unknown type": (file_of(text("a") + struct.pack("<II", 99, 0), counts=(0, 1)), "a value of type 99"),
    "a key twice": (file_of((text("a") + struct.pack("<II", 4, 0)) * 2, counts=(0, 2)), "the key 'a' stands twice"),
    "no alignment": (
        file_of(text("general.alignment") + struct.pack("<II", 4, 0), counts=(0, 1)),
        "general.alignment is 0; expected a power of two",
    ),
    "many axes": (file_of(tensors=text("t") + struct.pack("<I", 2**31) + bytes(20), counts=(1, 0)), "2147483648 axes"),
    "a tensor twice": (
        file_of(tensors=(text("t") + struct.pack("<IQIQ", 1, 1, 0, 0)) * 2, counts=(2, 0)),
        "two tensors have one name",
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_header_that_lies(tmp_path: Path, what: str) -> None:
    content, says = DAMAGED[what]
    path = tmp_path / "v.gguf"
    path.write_bytes(content)
    with bounded(seconds=5, megabytes=64), pytest.raises(FileError, match=r"v\.gguf: .*") as caught:
        open_vector(path)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("width", "start"), [(2**61, 0), (2**40, 0), (9, 0), (8, 64), (8, 2**63), (2**62 + 2, 0)], ids=str
)
def test_tensors_larger_than_the_file(tmp_path: Path, width: int, start: int) -> None:
    path = tmp_path / "v.gguf"
    head = file_of(tensors=text("direction.1") + struct.pack("<IQIQ", 1, width, 0, start), counts=(1, 0))
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(32))
    with bounded(seconds=5, megabytes=64), pytest.raises(InputError, match=r"v\.gguf: "):
        open_vector(path)


def test_many_tensors_of_the_same_bytes(tmp_path: Path) -> None:
    """A small file must not become a large vector."""
    path, width, count = tmp_path / "v.gguf", 1_000_000, 500
    tensors = b"".join(text(f"direction.{n}") + struct.pack("<IQIQ", 1, width, 0, 0) for n in range(1, count + 1))
    head = file_of(tensors=tensors, counts=(count, 0))
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(4 * width))
    with bounded(seconds=5, megabytes=64), pytest.raises(FileError, match="would need more bytes"):
        open_vector(path)


def test_a_sparse_file_of_texts_is_no_hang(tmp_path: Path) -> None:
    path = tmp_path / "v.gguf"
    path.write_bytes(file_of(text("a") + struct.pack("<IIQ", 9, 8, 10**9), counts=(0, 1)))
    with path.open("r+b") as file:
        file.truncate(2**34)
    with bounded(seconds=5, megabytes=64), pytest.raises(FileError, match="the 256 MiB that a header may have"):
        open_vector(path, "gguf")
    path.write_bytes(file_of(text("a") + struct.pack("<IIQ", 9, 8, 5 * 10**6), counts=(0, 1)))
    with path.open("r+b") as file:
        file.truncate(2**34)
    with bounded(seconds=5, megabytes=64), pytest.raises(FileError, match="more than 2000000 texts"):
        open_vector(path, "gguf")


def test_values_of_all_types_as_the_library_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "v.gguf"
    writer = gguf.GGUFWriter(path, "x")
    for name, number in (("uint8", 200), ("int8", -100), ("uint16", 60_000), ("int16", -30_000), ("uint32", 2**32 - 1)):
        getattr(writer, f"add_{name}")(name, number)
    for name, number in (("int32", -(2**31)), ("uint64", 2**64 - 1), ("int64", -(2**63))):
        getattr(writer, f"add_{name}")(name, number)
    writer.add_float64("float64", 0.1)
    writer.add_float32("float32", 0.1)
    writer.add_bool("bool", val=True)
    writer.add_string("string", "é 😀")
    writer.add_array("ints", [1, -2, 3])
    writer.add_array("floats", [0.5, 0.25])
    writer.add_array("texts", ["a", "bc"])
    writer.add_custom_alignment(64)
    writer.add_tensor("a", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("b", np.arange(5, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header, library = read_header(path), gguf.GGUFReader(path)
    expected = {key: field.contents() for key, field in library.fields.items() if not key.startswith("GGUF.")}
    assert expected.pop("texts") == ["a", "bc"]
    found = {key: list(value) if isinstance(value, tuple) else value for key, value in header.values.items()}
    assert found.pop("texts") is None
    assert found == expected
    assert [(t.name, t.shape, t.kind, t.start) for t in header.tensors] == [
        (t.name, tuple(t.shape.tolist()), t.tensor_type.value, t.data_offset) for t in library.tensors
    ]


@pytest.mark.parametrize("name", ["gguf", "easysteer"])
def test_any_damage_is_an_error_of_ours_or_still_a_vector(tmp_path: Path, name: str) -> None:
    path = tmp_path / "v.gguf"
    save_vector(path, vector(**FULL), name)
    whole = path.read_bytes()
    generator = random.Random(0)
    refused = 0
    for _ in range(1000):
        content = bytearray(whole)
        match generator.randrange(4):
            case 0:
                content = content[: generator.randrange(len(content))]
            case 1:
                for _ in range(generator.randrange(1, 20)):
                    content[generator.randrange(len(content))] = generator.randrange(256)
            case 2:
                at = generator.randrange(len(content) - 8)
                content[at : at + 8] = generator.choice([b"\xff" * 8, bytes(8), struct.pack("<Q", 2**40)])
            case 3:
                at = generator.randrange(len(content))
                content[at:at] = content[generator.randrange(at + 1) : at]
        path.write_bytes(content)
        with bounded(seconds=5, megabytes=64):
            try:
                reading = open_vector(path)
            except InputError as error:
                refused += 1
                assert str(path) in str(error)
            else:
                assert np.isfinite(reading.vector.directions_LD).all()
    assert 300 < refused < 1000


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(FileError, match="no such file"):
            open_vector(path, "gguf")
    write_gguf(tmp_path / "v.gguf", rows(1))
    with pytest.raises(FileError, match=r"not a safetensors file"):
        open_vector(tmp_path / "v.gguf", "steer-llama")
    (tmp_path / "v.safetensors").write_bytes(b"\x10" + bytes(30))
    with pytest.raises(FileError, match=r"not a GGUF file"):
        open_vector(tmp_path / "v.safetensors", "gguf")
