"""Flags that several verbs share, spelled once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from steer_llama.config import Settings

_S = TypeVar("_S", bound="Settings")
_N = TypeVar("_N", int, float)

Model = Annotated[str, typer.Option("--model", "-m", help="A folder, a GGUF file, a hub id, or smollm2.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")]
Devices = Annotated[int, typer.Option("--n-devices", min=1, help="GPUs that the layers are spread over.")]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option(help="auto: the weights' own type on a GPU, float32 on a CPU."),
]
ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The run's configuration (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. --set fit.positions=emoji."),
]
AnyModel = Annotated[
    bool, typer.Option("--any-model", help="Accept other weights of the same shape than the vector was fitted on.")
]

FORMAT_NAMES = (
    "steer-llama, gguf, easysteer, seed, persona-vectors, assistant-axis, vllm-lens, saklas, steering-vectors, numpy"
)
GivenFormat = Annotated[
    str, typer.Option("--from", help=f"The format of what is read, where the file does not tell: {FORMAT_NAMES}.")
]
ModelType = Annotated[
    str, typer.Option(help="What transformers calls the architecture, e.g. llama, where the vector does not say.")
]


def settings(section: type[_S], **values: Any) -> _S:
    """A section of the configuration from flags.

    Raises:
        ConfigError: a value that the section refuses, under the name of its flag.
    """
    from pydantic import ValidationError

    from steer_llama.errors import ConfigError

    try:
        return section(**values)
    except ValidationError as error:
        told = [
            f"--{str((problem['loc'] or ('',))[0]).replace('_', '-')} {problem['input']}: "
            f"{problem['msg'].removeprefix('Value error, ').removeprefix('Input ')}."
            for problem in error.errors()
        ]
        raise ConfigError(" ".join(told)) from None


def numbers(text: str, kind: type[_N], flag: str) -> tuple[_N, ...]:
    """Numbers with commas between them.

    Raises:
        ConfigError: one is no number of that kind.
    """
    from steer_llama.errors import ConfigError

    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        what, example = ("whole numbers", "8,12,16") if kind is int else ("numbers", "0.1,0.2")
        raise ConfigError(f"{flag} {text!r}: expected {what} with commas between them, e.g. {example}.") from None


def words(text: str) -> tuple[str, ...]:
    """Words with commas between them; ``keep-norm`` is ``keep_norm``."""
    return tuple(part.strip().replace("-", "_") for part in text.split(",") if part.strip())
