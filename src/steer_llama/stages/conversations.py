"""The pairs as the target reads them: after its own system prompt and example turns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steer_llama.config import Config
from steer_llama.pairs import ReadPairs, read_pairs
from steer_llama.records import Message, Pair, Turn
from steer_llama.rundir import FILTERED, RunDir
from steer_llama.stages.arms import prompt_of


@dataclass(frozen=True)
class PairsFile:
    """A file of pairs, and what stands before its conversations."""

    path: Path
    chosen_field: str | None = None
    """Key of the answer that has the style; default: the file tells it."""
    rejected_field: str | None = None
    system_prompt: str = ""
    examples: Sequence[Turn] = ()

    @classmethod
    def of_run(cls, config: Config, rundir: RunDir) -> "PairsFile":
        """The kept pairs of a run, for its target."""
        prompt = prompt_of(config.target, config)
        return cls(
            rundir.path(FILTERED),
            f"{config.source.name}_response",
            f"{config.target.name}_response",
            prompt.system_prompt,
            prompt.examples,
        )

    def read(self) -> ReadPairs:
        """Read them.

        Raises:
            ConfigError: the keys do not tell which arm is the source.
            FileError: the file is missing, of another format, or no usable pair remains.
        """
        read = read_pairs(self.path, self.chosen_field, self.rejected_field, self.system_prompt)
        return ReadPairs([_after(self.examples, pair) for pair in read.pairs], read.left_out)


def _after(examples: Sequence[Turn], pair: Pair) -> Pair:
    """The pair with the example turns before its conversation, behind its system message."""
    other = pair.rejected_prompt
    prompts = {
        "prompt": _with_examples(pair.prompt, examples),
        "rejected_prompt": None if other is None else _with_examples(other, examples),
    }
    return pair.model_copy(update=prompts)


def _with_examples(prompt: tuple[Message, ...], examples: Sequence[Turn]) -> tuple[Message, ...]:
    head = 1 if prompt[0]["role"] == "system" else 0
    turns = [
        Message(role=role, content=content)
        for turn in examples
        for role, content in (("user", turn.user), ("assistant", turn.assistant))
    ]
    return (*prompt[:head], *turns, *prompt[head:])
