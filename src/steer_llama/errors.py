"""Every error that steer-llama raises on purpose.

::

    SteerLlamaError                 something failed on our side or on a server        exit 1
    ├── EndpointError               a chat endpoint failed for good
    ├── BudgetError                 the budget does not allow another call
    ├── SteeringInactiveError       a hook that should have steered never ran
    └── InputError                  what was given cannot be used                      exit 2
        ├── ConfigError             the YAML or a flag
        ├── FileError               missing, empty, or not the format that was expected
        │   ├── RecordError         one record of a file, named
        │   └── AmbiguousFormatError  a file that could be of several formats
        ├── ConflictError           two inputs that contradict each other
        ├── ModelError              weights, tokenizer or chat template
        │   ├── ContextLengthError  a text longer than the model's context
        │   └── LayerError          a layer that the model or file does not have
        ├── VectorError             a vector that does not fit the model or the request
        └── StorageError            the disk is full, or the folder cannot be written

An error's text says what was found, what was expected, and what to do.
"""

from collections.abc import Mapping


class SteerLlamaError(Exception):
    """Base of all our errors; a user sees its text and never a traceback."""

    exit_code = 1


class EndpointError(SteerLlamaError):
    """A chat endpoint failed for good (after the retries, or for a reason that a retry cannot mend)."""


class BudgetError(SteerLlamaError):
    """Another call would exceed the budget; what had arrived is kept."""


class SteeringInactiveError(SteerLlamaError):
    """The model ran, but a steering hook did not: the text would be silently unsteered."""


class InputError(SteerLlamaError):
    """What the user gave cannot be used."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration value or a flag is wrong."""


class FileError(InputError):
    """A file is missing, empty, or not of the expected format."""


class RecordError(FileError):
    """One record of a file is wrong; the text names the record and the key."""


class AmbiguousFormatError(FileError):
    """A file does not tell which of several formats it has."""

    def __init__(self, file: str, readings: Mapping[str, str]) -> None:
        """Say what the file would be in each format.

        Args:
            file: its path.
            readings: the formats' names, and what the file would be in each.
        """
        self.candidates = tuple(readings)
        told = "; ".join(f"{name}: {reading}" for name, reading in readings.items())
        super().__init__(f"{file}: could be of {len(readings)} formats and does not tell which. Name it. {told}.")


class ConflictError(InputError):
    """Two inputs contradict each other."""


class ModelError(InputError):
    """The weights, the tokenizer or the chat template cannot be used."""


class ContextLengthError(ModelError):
    """A text is longer than the model's context."""


class LayerError(ModelError):
    """The model or the file has no such layer."""


class VectorError(InputError):
    """A vector does not fit the model or the request."""


class StorageError(InputError):
    """The disk is full, or the place cannot be written."""
