"""The two arms as something that can be asked: their prompts, their endpoints, their requests."""

import json
from collections.abc import Sequence
from pathlib import Path

from steer_llama.chat import (
    Endpoint,
    RecordedEndpoint,
    build_messages,
    chat_request,
)
from steer_llama.config import ArmSettings, Config, ModelSettings, ServerSettings
from steer_llama.elicitations import read_trait
from steer_llama.errors import ConfigError
from steer_llama.files import digest_file
from steer_llama.lm.endpoint import LocalEndpoint
from steer_llama.lm.fingerprint import state_of
from steer_llama.lm.load import load_model
from steer_llama.progress import Reporter
from steer_llama.records import ChatRequest, Demonstration
from steer_llama.stages.asking import Correspondence


def prompt_of(arm: ArmSettings, config: Config) -> Demonstration:
    """What stands before the arm's questions: its own prompt, or the trait's demonstration.

    Raises:
        ConfigError: the arm asks for a demonstration that the trait does not have.
    """
    if not arm.demonstrate:
        return Demonstration(system_prompt=arm.system_prompt, examples=arm.examples)
    demonstration = read_trait(config.trait).demonstration
    if demonstration is None:
        raise ConfigError(
            f"{arm.name}: 'demonstrate' is on, but the trait {config.trait_name!r} has no 'demonstration'. "
            "Add one to its JSON, or give the arm a system_prompt and examples."
        )
    return demonstration


def open_endpoint(arm: ArmSettings, config: Config, letters: Correspondence, reporter: Reporter) -> Endpoint:
    """The arm as an endpoint.

    Raises:
        ConfigError: a key is missing from the environment.
        FileError: recorded answers cannot be read.
        ModelError: local weights cannot be loaded.
    """
    if arm.kind == "openai":
        return letters.server(arm.name, arm)
    if arm.kind == "recorded":
        return RecordedEndpoint.from_settings(arm)
    return LocalEndpoint(arm.name, load_model(weights_of(arm, config), reporter), arm.batch_size)


def weights_of(arm: ArmSettings, config: Config) -> ModelSettings:
    """The weights of a local arm: its own, or those of the model section."""
    return config.model.model_copy(update={"path": arm.model}) if arm.model else config.model


def identity_of(arm: ArmSettings, config: Config) -> str:
    """What tells this arm's answers from another model's: part of every request's key."""
    if arm.kind == "openai":
        return server_identity(arm)
    if arm.kind == "recorded":
        there = arm.file is not None and arm.file.is_file()
        return f"recorded {arm.name} {digest_file(arm.file) if arm.file and there else ''}"
    weights = weights_of(arm, config)
    return f"local {weights.where} {weights.dtype} {weights_state(weights)}".rstrip()


def server_identity(server: ServerSettings) -> str:
    """What tells a model behind a server from others: its address, its name, and what every request adds."""
    added = f" {json.dumps(server.extra_body, sort_keys=True)}" if server.extra_body else ""
    return f"{server.base_url} {server.model}{added}"


def weights_state(settings: ModelSettings) -> str:
    """Tells weights from others that took their place in the same folder or file, without loading either.

    Small files count whole, large ones by their size and a sample. Empty for what is no path (a hub id, ``smollm2``).
    """
    path = Path(settings.where).expanduser()
    return state_of(path) if path.exists() else ""


def requests_for(arm: ArmSettings, config: Config, questions: Sequence[str]) -> list[ChatRequest]:
    """One request per question, each with its own key and seed."""
    prompt, identity = prompt_of(arm, config), identity_of(arm, config)
    return [
        chat_request(identity, build_messages(prompt.system_prompt, prompt.examples, question), arm.sampling)
        for question in questions
    ]
