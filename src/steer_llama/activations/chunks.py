"""Where single tokens stand in a file: in chunks of some tokens of one layer, so that a layer can be read by itself.

HDF5 keeps no index of such chunks: a dataset of fixed shape that is allocated at once has them one after another (its
"implicit index", since HDF5 1.10), so a token's place can be computed and it can be written without HDF5.

Shapes: T tokens, L layers, D width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_BYTES = 1 << 20
"""Of a chunk, about: enough for a disk to read at full speed, little enough to read one answer's tokens."""


@dataclass(frozen=True)
class Chunks:
    """How a dataset (T, L, D) is divided."""

    tokens: int
    layers: int
    row_bytes: int
    """Of one token at one layer."""

    @property
    def length(self) -> int:
        """Tokens of a chunk."""
        return max(1, min(self.tokens, _BYTES // self.row_bytes))

    @property
    def bytes(self) -> int:
        """Of a chunk; the last ones of every layer are as long as the others."""
        return self.length * self.row_bytes

    def pieces(self, first: int, count: int) -> Iterator[tuple[int, int, int]]:
        """What of ``count`` tokens from ``first`` on lies together, piece by piece.

        Yields:
            Begin and end among the ``count`` tokens, and the byte at which the first layer's piece stands. Those of the
            next layers follow `bytes` after each other.
        """
        done = 0
        while done < count:
            row, inside = divmod(first + done, self.length)
            end = min(count, done + self.length - inside)
            yield done, end, row * self.layers * self.bytes + inside * self.row_bytes
            done = end

    def check(self, dataset: Any) -> int:
        """The byte of the file at which the first chunk of an HDF5 dataset begins.

        Raises:
            ValueError: its chunks do not stand where they are expected.
        """
        shape = (self.length, 1, dataset.shape[2])
        if dataset.chunks != shape:
            raise ValueError(f"{dataset.name}: chunks of {dataset.chunks}, expected {shape}")
        last_row = (self.tokens - 1) // self.length
        first = dataset.id.get_chunk_info_by_coord((0, 0, 0))
        last = dataset.id.get_chunk_info_by_coord((last_row * self.length, self.layers - 1, 0))
        begin, size = int(first.byte_offset), self.bytes
        expected = begin + (last_row * self.layers + self.layers - 1) * size
        if (int(last.byte_offset), int(last.size), int(last.filter_mask)) != (expected, size, 0):
            raise ValueError(f"{dataset.name}: its chunks do not follow each other")
        return begin
