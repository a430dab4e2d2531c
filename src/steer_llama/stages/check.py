"""``check``: what the endpoints of a configuration can do, before a run depends on it."""

from dataclasses import dataclass

from steer_llama.chat import OpenAICompatibleEndpoint, Probe, Prober, shown_url
from steer_llama.config import Config, ServerSettings
from steer_llama.errors import SteerLlamaError
from steer_llama.progress import Reporter
from steer_llama.stages.arms import server_identity


@dataclass(frozen=True)
class Checked:
    """One model behind a server, and what came of asking it."""

    names: tuple[str, ...]
    """What the configuration calls it: one model may write, answer and judge."""
    settings: ServerSettings
    address: str
    """Its URL, without anything secret in it."""
    probe: Probe | None
    error: SteerLlamaError | None


def check(config: Config, reporter: Reporter) -> list[Checked]:
    """Ask every endpoint; what fails is told and not raised, so that all of them are heard."""
    groups: dict[str, dict[str, ServerSettings]] = {}
    for name, settings in config.endpoints.items():
        groups.setdefault(server_identity(settings), {})[name] = settings
    checked: list[Checked] = []
    with reporter.task("asking", len(groups), "endpoints") as advance:
        for group in groups.values():
            names, settings = tuple(group), next(iter(group.values()))
            checked.append(_checked(names, settings))
            advance(1)
    return checked


def _checked(names: tuple[str, ...], settings: ServerSettings) -> Checked:
    # One retry, since a check should tell soon.
    address = shown_url(settings.base_url or "")
    patient = settings.model_copy(update={"max_retries": min(1, settings.max_retries)})
    try:
        endpoint = OpenAICompatibleEndpoint.from_settings(" and ".join(names), patient)
        return Checked(names, settings, address, Prober(endpoint, settings.sampling).probe(), None)
    except SteerLlamaError as error:
        return Checked(names, settings, address, None, error)
