"""What all records share."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict  # pydantic refuses typing's own before Python 3.12

SplitName = Literal["extract", "dev", "test"]


class Message(TypedDict):
    """One turn of a chat, as every chat API takes it."""

    role: str
    content: str


class Record(BaseModel):
    """Base of the records: immutable; unknown keys are kept out of memory, never an error (other tools add theirs)."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)


def as_json(record: Record) -> dict[str, Any]:
    """A record as plain JSON values."""
    return record.model_dump(mode="json")
