"""``elicit``: what is asked, given or written by an author model, checked and split, as ``elicitation.json``."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from steer_llama.chat import Endpoint, chat_request
from steer_llama.chat.authoring import Written, write_elicitation
from steer_llama.config import AuthorSettings, BudgetSettings, Config
from steer_llama.elicitations import packaged_name, read_elicitation, read_trait, split_of, with_split
from steer_llama.errors import ConfigError, EndpointError
from steer_llama.files import check_output, write_json
from steer_llama.progress import Reporter, SilentReporter
from steer_llama.records import ChatReply, Elicitation, Message, Split, Trait, as_json
from steer_llama.rundir import ELICITATION, RunDir
from steer_llama.stages.arms import server_identity
from steer_llama.stages.asking import correspondence, journal_of
from steer_llama.stages.stage import Stage


@dataclass(frozen=True)
class Asked:
    """The trait and what is asked for it."""

    trait: Trait
    elicitation: Elicitation
    split: Split
    """The elicitation's."""


def elicit(config: Config) -> Asked:
    """Find, check and split what the configuration names; nobody is asked.

    Raises:
        ConfigError: the trait is not packaged, or the configuration names no elicitation for a trait of the user's
            own, or an author is to write it first.
        FileError: a file is missing or not JSON.
        RecordError: a record is wrong, or there are fewer than three questions.
    """
    trait = read_trait(config.trait)
    if author_of(config) is not None:
        raise ConfigError(
            f"'author' is to write what is asked for the trait {config.trait_name!r}, and has not yet. Let it "
            f"(steer-llama elicit {config.trait} -c CONFIG), then give its file as 'elicitation'."
        )
    given = config.elicitation or packaged_name(config.trait)
    if given is None:
        raise ConfigError(
            f"the trait {config.trait_name!r} is a file of its own, so no elicitation is packaged for it. "
            "Give 'elicitation', the path of a JSON file with 'questions', or 'author', a model that writes one."
        )
    elicitation = read_elicitation(given)
    split = split_of(elicitation, str(given))
    whole = elicitation.model_copy(update={"trait": elicitation.trait or trait.name, "split": split})
    return Asked(trait, whole, split)


def have_written(
    trait: Trait, author: AuthorSettings, budget: BudgetSettings, out: Path, reporter: Reporter, others: Iterable[Path]
) -> Written:
    """Have the author write the elicitation, and write it, split, to ``out``.

    Its replies go to ``<name>.journal.jsonl`` beside it as they arrive; what is there is not asked again. ``others``
    are the journals of the same run, which are paid from the same budget.

    Raises:
        EndpointError: the author cannot be reached, refuses, or wrote too little in ``author.max_calls`` calls.
        BudgetError: the budget allows no further call; what arrived is kept.
        StorageError: the file or the journal cannot be written.
    """
    check_output(out)
    identity = server_identity(author.endpoint)
    # The bar is ours: it counts questions, not replies.
    with correspondence(journal_of(out), SilentReporter(), budget, others) as letters:

        @cache
        def endpoint() -> Endpoint:
            return letters.server("author", author.endpoint)

        def ask(messages: tuple[Message, ...], schema: dict[str, Any], attempt: int) -> ChatReply:
            sampling = author.endpoint.sampling
            own = sampling.model_copy(update={"seed": sampling.seed + attempt})
            request = chat_request(identity, messages, own, answer_schema=schema)
            heard = letters.ask(endpoint, [request], "asking the author")
            if request.key in heard.refused:
                raise EndpointError(f"the author was refused its task: {heard.refused[request.key].reason}")
            return heard.replies[request.key]

        with reporter.task("the author's questions", author.questions, "questions") as advance:
            written = write_elicitation(trait, author, ask, advance)
    whole = Written(with_split(written.elicitation), written.calls, written.refused)
    write_json(out, as_json(whole.elicitation))
    return whole


def summary(elicitation: Elicitation) -> str:
    """How many questions there are and what for, in words."""
    split = split_of(elicitation)
    return (
        f"trait {elicitation.trait}: {len(elicitation.questions)} questions "
        f"({len(split.extract)} extract, {len(split.dev)} dev, {len(split.test)} test)"
    )


def run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    """Write ``elicitation.json``. Raises as `elicit` and `have_written`."""
    out = rundir.path(ELICITATION)
    author = author_of(config)
    if author is None:
        elicitation = elicit(config).elicitation
        write_json(out, as_json(elicitation))
        reporter.note(summary(elicitation))
        return
    written = have_written(read_trait(config.trait), author, config.budget, out, reporter, rundir.journals())
    reporter.note(f"{summary(written.elicitation)}, {written.effort}")


def author_of(config: Config) -> AuthorSettings | None:
    """Who writes the elicitation; ``None`` where one is given."""
    return None if config.elicitation is not None else config.author


def _settings(config: Config) -> object:
    author = author_of(config)
    if author is not None:
        # Nobody is asked here; what the author gets decides what it writes, not how fast or how often it may be asked.
        return {
            "trait": as_json(read_trait(config.trait)),
            "author": server_identity(author.endpoint),
            "sampling": author.endpoint.sampling.model_dump(mode="json"),
            **author.model_dump(mode="json", include={"questions", "questions_per_call", "instructions"}),
        }
    # The files lie outside the run folder, so their content stands in for them.
    asked = elicit(config)
    return {"trait": as_json(asked.trait), "elicitation": as_json(asked.elicitation)}


def _asks(config: Config) -> tuple[str, ...]:
    return ("author.endpoint",) if author_of(config) else ()


STAGE = Stage(name="elicit", reads=(), writes=(ELICITATION,), settings=_settings, run=run, asks=_asks)
