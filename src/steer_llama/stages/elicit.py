"""``elicit``: what is asked, checked and split, as ``elicitation.json``."""

from dataclasses import dataclass

from steer_llama.config import Config
from steer_llama.elicitations import packaged_name, read_elicitation, read_trait, split_of
from steer_llama.errors import ConfigError
from steer_llama.files import write_json
from steer_llama.progress import Reporter
from steer_llama.records import Elicitation, Split, Trait, as_json
from steer_llama.rundir import ELICITATION, RunDir
from steer_llama.stages.stage import Stage


@dataclass(frozen=True)
class Asked:
    """The trait and what is asked for it."""

    trait: Trait
    elicitation: Elicitation
    split: Split
    """The elicitation's."""


def elicit(config: Config) -> Asked:
    """Find, check and split what the configuration names.

    Raises:
        ConfigError: the trait is not packaged, or has a file of its own and the configuration names no elicitation.
        FileError: a file is missing or not JSON.
        RecordError: a record is wrong, or there are fewer than three questions.
    """
    trait = read_trait(config.trait)
    given = config.elicitation or packaged_name(config.trait)
    if given is None:
        raise ConfigError(
            f"the trait {config.trait_name!r} is a file of its own, so no elicitation is packaged for it. "
            "Give 'elicitation', the path of a JSON file with 'questions'."
        )
    elicitation = read_elicitation(given)
    split = split_of(elicitation, str(given))
    whole = elicitation.model_copy(update={"trait": elicitation.trait or trait.name, "split": split})
    return Asked(trait, whole, split)


def run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    """Write ``elicitation.json``. Raises as `elicit`."""
    asked = elicit(config)
    split = asked.split
    write_json(rundir.path(ELICITATION), as_json(asked.elicitation))
    reporter.note(
        f"trait {asked.trait.name}: {len(asked.elicitation.questions)} questions "
        f"({len(split.extract)} extract, {len(split.dev)} dev, {len(split.test)} test)"
    )


def _settings(config: Config) -> object:
    # The files lie outside the run folder, so their content stands in for them.
    asked = elicit(config)
    return {"trait": as_json(asked.trait), "elicitation": as_json(asked.elicitation)}


STAGE = Stage(name="elicit", reads=(), writes=(ELICITATION,), settings=_settings, run=run)
