"""Whether every chat model that a run needs lets us in: found out before any work, not after hours of it."""

from collections.abc import Sequence

from steer_llama.chat import OpenAICompatibleEndpoint
from steer_llama.config import Config
from steer_llama.stages.stage import Stage


def check_access(config: Config, stages: Sequence[Stage]) -> None:
    """Try the address, the key and the model's name of every endpoint that ``stages`` are going to ask.

    The list of models that a server keeps tells it at no cost. Where there is none, the first stage's own questions
    tell at once; an endpoint that is needed later is asked for a single token.

    Raises:
        ConfigError: a key is missing from the environment.
        EndpointError: an endpoint cannot be reached, refuses the key or has no such model; it is named.
    """
    seen: set[str] = set()
    asked = [names for stage in stages if (names := [name for name in stage.asks(config) if name in config.endpoints])]
    endpoints: list[tuple[OpenAICompatibleEndpoint, bool]] = []
    for number, names in enumerate(asked):
        for name in names:
            if name not in seen:
                seen.add(name)
                endpoint = OpenAICompatibleEndpoint.from_settings(name, config.endpoints[name])
                endpoints.append((endpoint, number > 0))
    for endpoint, is_needed_later in endpoints:
        endpoint.check_access(may_ask=is_needed_later)
