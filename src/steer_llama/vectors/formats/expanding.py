"""How much a compressed piece of a file may grow: a small file must not ask for a large allocation."""

from steer_llama.errors import FileError

_FREELY = 64 * 2**20
"""Bytes: 126 layers of width 16,384 in float32, eight times over."""
_GROWTH = 16
"""Numbers of a vector hardly shrink; rows of zeros do."""


def check_growth(declared: int, compressed: int, what: str) -> None:
    """Refuse a piece that says it is far larger than its compressed bytes.

    Raises:
        FileError: it is larger than both 64 MB and 16 times its compressed size.
    """
    if declared > max(_FREELY, _GROWTH * compressed):
        raise FileError(
            f"{what} says that its {compressed:,} bytes become {declared:,}: that is no vector, so it is not unpacked."
        )
