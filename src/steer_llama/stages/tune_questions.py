"""Which questions several elicitations give to choose on and to confirm on, and what the source answered to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steer_llama.elicitations import split_of
from steer_llama.errors import ConfigError, FileError
from steer_llama.records import Elicitation, Response


@dataclass(frozen=True)
class Asked:
    """Questions that the source has answered, and its answers."""

    source_name: str
    dev: tuple[str, ...]
    test: tuple[str, ...]
    source: tuple[Response, ...]
    """To the dev and the test questions."""
    notes: tuple[str, ...]
    """What was left out: a sentence each."""


def asked_of_all(
    elicitations: Mapping[str, Elicitation], responses: Sequence[Response], dev_questions: int | None
) -> Asked:
    """The dev and the test questions of all elicitations to which there is an answer of the source.

    A question that stands in different parts of two elicitations is left out: it may have made a vector, or been
    chosen on.

    Args:
        elicitations: by what names them in errors.
        responses: of both arms; the source's are used.
        dev_questions: of each elicitation at most; ``None`` for all.

    Raises:
        ConfigError: there is no elicitation, or the answers are of more than one source.
        FileError: the source answered no dev or no test question of an elicitation, or fewer than two of all.
        RecordError: an elicitation has too few questions to split.
    """
    if not elicitations:
        raise ConfigError("give at least one --elicitation: its dev questions choose, and its test questions confirm.")
    sources = sorted({answer.arm for answer in responses if answer.role == "source"})
    if len(sources) != 1:
        found = f"of {len(sources)} sources ({', '.join(sources)})" if sources else "of no source"
        raise ConfigError(f"the responses hold answers {found}; expected those of one, whose style is wanted.")
    answers: dict[str, Response] = {}
    for answer in responses:
        if answer.role == "source" and answer.reason is None and answer.text.strip():
            answers.setdefault(answer.question, answer)
    splits = {name: split_of(elicitation, name) for name, elicitation in elicitations.items()}
    parts: dict[str, set[str]] = {}
    for split in splits.values():
        for question in (*split.extract, *split.dev, *split.test):
            parts.setdefault(question, set()).add(split.of(question))
    notes = []
    if torn := [question for question, found in parts.items() if len(found) > 1]:
        notes.append(f"{len(torn)} questions stand in different parts of two elicitations and are left out")
    chosen: dict[str, dict[str, None]] = {"dev": {}, "test": {}}
    for name, split in splits.items():
        for part, questions in (("dev", split.dev[:dev_questions]), ("test", split.test)):
            whole = [question for question in questions if len(parts[question]) == 1]
            answered = [question for question in whole if question in answers]
            if not answered:
                raise FileError(
                    f"the source answered none of the {len(whole)} {part} questions of {name}. Give the --responses to "
                    "these questions too, or leave the elicitation out."
                )
            if len(answered) < len(whole):
                told = f"the source answered {len(answered)} of {len(whole)} {part} questions"
                notes.append(f"{name}: {told}; only these are asked")
            chosen[part] |= dict.fromkeys(answered)
    dev, test = tuple(chosen["dev"]), tuple(chosen["test"])
    if min(len(dev), len(test)) < 2:
        raise FileError(
            f"the source answered {len(dev)} dev and {len(test)} test questions; expected at least two of each, and a "
            "dozen for figures worth having."
        )
    return Asked(sources[0], dev, test, tuple(answers[question] for question in (*dev, *test)), tuple(notes))
