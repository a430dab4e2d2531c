"""What a stage's journal holds, as records."""

from collections.abc import Iterator
from typing import TypeVar

from pydantic import ValidationError

from steer_llama.chat import Journal
from steer_llama.config import explain
from steer_llama.errors import RecordError
from steer_llama.records import Record

_R = TypeVar("_R", bound=Record)


def journalled(journal: Journal, record: type[_R]) -> Iterator[_R]:
    """The journal's lines, each as a ``record``.

    Raises:
        RecordError: a line is something else, or the file is no journal.
    """
    for row in journal.load():
        try:
            yield record.model_validate(row)
        except ValidationError as error:
            raise RecordError(
                f"{journal.path}, key {row['key'][:12]!r}: {explain(error, record)} "
                "Another verb or version wrote it: delete the file (its work is done again), or choose another -o."
            ) from error
