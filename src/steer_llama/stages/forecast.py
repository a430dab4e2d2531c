"""What a run will ask of chat models: calls, tokens and money, before anything is spent."""

from collections.abc import Callable
from dataclasses import dataclass

from steer_llama.chat import cost_of
from steer_llama.config import ArmSettings, Config, ServerSettings
from steer_llama.elicitations import split_sizes
from steer_llama.records import Elicitation
from steer_llama.stages.arms import prompt_of

_CHARACTERS_PER_TOKEN = 4.0
"""Of English under today's tokenizers, about."""
_OVERHEAD = 30
"""Tokens that a chat template adds to a prompt, about."""
_EVALUATION_TOKENS = 200
"""An evaluation prompt, without the question and the answer, about."""
_QUESTION_TOKENS = 20
_DIGIT_CALLS = 4.0
"""Calls per judgement where numbers are read digit by digit, about."""
_DEFAULT_LAYERS = 5
"""Of a sweep whose layers are not given."""


@dataclass(frozen=True)
class Load:
    """What one stage asks of one endpoint."""

    stage: str
    endpoint: str
    """What the configuration calls it."""
    calls: int
    prompt_tokens: int
    """An estimate."""
    completion_tokens: int
    """At most: every answer as long as it may be."""
    cost: float | None
    """At most; ``None`` without a price."""


def forecast(config: Config, elicitation: Elicitation | None, by_digits: Callable[[str], bool]) -> list[Load]:
    """What is to be asked, stage by stage; retries and repairs come on top.

    Args:
        config: the run's.
        elicitation: what is asked, if it is there already.
        by_digits: whether the endpoint of this name writes numbers digit by digit.
    """
    questions = len(elicitation.questions) if elicitation else config.author.questions if config.author else 0
    loads: list[Load] = []
    if elicitation is None and config.author is not None:
        author = config.author
        calls = 2 + -(-author.questions // author.questions_per_call)
        shown = author.questions * _QUESTION_TOKENS
        loads.append(_load("elicit", "author.endpoint", author.endpoint, calls, 400 + shown // 2))
    for name, arm in (("source", config.source), ("target", config.target)):
        if arm.kind == "openai":
            loads.append(_load("respond", name, arm, questions, _prompt_tokens(arm, config) + _QUESTION_TOKENS))
    if config.judge.endpoint is not None:
        loads += _judging(config, config.judge.endpoint, questions, by_digits("judge.endpoint"))
    return loads


def total(loads: list[Load]) -> Load:
    """The sum."""
    costs = [load.cost for load in loads if load.cost is not None]
    return Load(
        stage="all",
        endpoint="",
        calls=sum(load.calls for load in loads),
        prompt_tokens=sum(load.prompt_tokens for load in loads),
        completion_tokens=sum(load.completion_tokens for load in loads),
        cost=sum(costs) if costs else None,
    )


def exceeded(config: Config, whole: Load) -> list[str]:
    """Where the forecast is more than the budget, in words."""
    needs = {
        "max_calls": whole.calls,
        "max_tokens": whole.prompt_tokens + whole.completion_tokens,
        "max_cost": whole.cost or 0.0,
    }
    limits = config.budget.model_dump()
    return [
        f"budget.{name} is {limits[name]:g}, and the run may need {need:g}"
        for name, need in needs.items()
        if limits[name] is not None and need > limits[name]
    ]


def _judging(config: Config, judge: ServerSettings, questions: int, by_digits: bool) -> list[Load]:
    per_judgement = _DIGIT_CALLS if by_digits and config.judge.method in {"auto", "logprobs"} else 1.0
    kinds = 2 if config.judge.coherence else 1
    answer_tokens = max(config.source.sampling.max_tokens, config.target.sampling.max_tokens)
    prompt = _EVALUATION_TOKENS + _QUESTION_TOKENS + answer_tokens
    answers = 2 * questions
    judge_load = _load(
        "judge", "judge.endpoint", judge, round(answers * kinds * config.judge.repeats * per_judgement), prompt
    )
    sweep_load = _load("sweep", "judge.endpoint", judge, round(_trials(config, questions) * per_judgement), prompt)
    return [judge_load, sweep_load]


def _trials(config: Config, questions: int) -> int:
    """Answers of the sweep that are judged."""
    sweep = config.sweep
    _, dev, test = split_sizes(questions)
    dev = min(dev, sweep.questions or dev)
    setups = 1 + len(sweep.layers or range(_DEFAULT_LAYERS)) * len(sweep.strengths)
    confirmed = 3 + sweep.random_directions  # unsteered, steered, prompted
    return setups * dev + confirmed * test * sweep.test_samples + dev + test


def _prompt_tokens(arm: ArmSettings, config: Config) -> int:
    prompt = prompt_of(arm, config)
    texts = [prompt.system_prompt, *(turn.user + turn.assistant for turn in prompt.examples)]
    return _OVERHEAD + round(sum(map(len, texts)) / _CHARACTERS_PER_TOKEN)


def _load(stage: str, name: str, server: ServerSettings, calls: int, prompt_tokens: int) -> Load:
    prompts, answers = calls * prompt_tokens, calls * server.sampling.max_tokens
    return Load(stage, name, calls, prompts, answers, cost_of(server.price, prompts, answers))
