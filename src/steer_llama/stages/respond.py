"""``respond``: asks source and target every question; each answer is journalled the moment it arrives."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from steer_llama.chat import Endpoint
from steer_llama.config import HOW, ArmSettings, Config
from steer_llama.elicitations import read_elicitation, read_trait, with_split
from steer_llama.files import check_output, digest_file, write_jsonl
from steer_llama.progress import Reporter
from steer_llama.records import ChatFailure, ChatReply, Elicitation, Response, as_json
from steer_llama.rundir import ELICITATION, RESPONSES, RunDir
from steer_llama.stages.arms import open_endpoint, requests_for, weights_of, weights_state
from steer_llama.stages.asking import Ask, Correspondence, correspondence, journal_of
from steer_llama.stages.stage import Stage

REFUSED, FAILED = "refused", "failed"
"""``finish_reason`` of a question that the server would not answer, and of one that it could not."""

_WITHOUT = " Or set respond.max_failed to go on without so many."


def respond(
    config: Config, elicitation: Elicitation, out: Path, reporter: Reporter, others: Iterable[Path] = ()
) -> list[Response]:
    """Ask both arms and write ``responses.jsonl`` (in the questions' order, source first).

    Answers go to ``<name>.journal.jsonl`` beside it as they arrive; what is there is not asked again. A question that
    a server refuses has an empty answer with the reason.

    Args:
        config: the arms, the weights of a local one, the budget.
        elicitation: its questions are asked; it has a split.
        out: the file.
        reporter: where to tell.
        others: journals of the same run, whose replies were paid from the same budget.

    Raises:
        EndpointError: an endpoint failed for good; what had arrived is kept.
        BudgetError: the budget ends here; what had arrived is kept.
        StorageError: the journal cannot be written.
        ConflictError: another process is at work on the same file.
    """
    check_output(out)
    arms = _roles(config)
    requests = {arm.name: requests_for(arm, config, elicitation.questions) for arm, _ in arms}
    refused: dict[str, ChatFailure] = {}
    with correspondence(journal_of(out), reporter, config.budget, others) as letters:
        already = {arm.name: sum(request.key in letters.known for request in requests[arm.name]) for arm, _ in arms}
        # What costs nothing comes first, and what takes long (loading weights) last.
        for kind in ("recorded", "openai", "local"):
            asks = [
                Ask(_opener(arm, config, letters, reporter), requests[arm.name]) for arm, _ in arms if arm.kind == kind
            ]
            names = " and ".join(arm.name for arm, _ in arms if arm.kind == kind)
            spare = config.respond.max_failed - sum(not failure.permanent for failure in refused.values())
            refused |= letters.ask_together(asks, f"asking {names}", spare, _WITHOUT).refused
        known = letters.known
    responses = [
        _response(arm, role, elicitation, question, known.get(request.key) or refused[request.key])
        for number, question in enumerate(elicitation.questions)
        for arm, role in arms
        for request in [requests[arm.name][number]]
    ]
    for arm, _ in arms:
        reporter.note(_summary(arm, [r for r in responses if r.arm == arm.name], already[arm.name]))
    write_jsonl(out, [as_json(response) for response in responses])
    return responses


def _roles(config: Config) -> tuple[tuple[ArmSettings, Literal["source", "target"]], ...]:
    return ((config.source, "source"), (config.target, "target"))


def _opener(arm: ArmSettings, config: Config, letters: Correspondence, reporter: Reporter) -> Callable[[], Endpoint]:
    return lambda: open_endpoint(arm, config, letters, reporter)


def _summary(arm: ArmSettings, responses: Sequence[Response], already: int) -> str:
    empty = sum(not response.text.strip() and response.reason is None for response in responses)
    cut = sum(response.finish_reason == "length" for response in responses)
    refused = [response for response in responses if response.reason is not None]
    return (
        f"{arm.name}: {len(responses)} answers, {len(responses) - already} of them asked now"
        + (f", {cut} cut at {arm.sampling.max_tokens} tokens" if cut else "")
        + (f", {empty} empty" if empty else "")
        + (f", {len(refused)} without an answer (first: {refused[0].reason})" if refused else "")
    )


def _response(
    arm: ArmSettings,
    role: Literal["source", "target"],
    elicitation: Elicitation,
    question: str,
    outcome: ChatReply | ChatFailure,
) -> Response:
    assert elicitation.split is not None, "an elicitation in use has a split"
    place = {"arm": arm.name, "role": role, "split": elicitation.split.of(question), "question": question}
    if isinstance(outcome, ChatFailure):
        model = arm.model or arm.name
        finish_reason = REFUSED if outcome.permanent else FAILED
        said = {"text": "", "finish_reason": finish_reason, "model": model, "reason": outcome.reason}
        return Response.model_validate({**place, **said, "key": outcome.key})
    kept = {"key", "text", "finish_reason", "model", "prompt_tokens", "completion_tokens", "reasoning"}
    return Response.model_validate({**place, **outcome.model_dump(include=kept)})


def _run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    respond(
        config,
        with_split(read_elicitation(rundir.path(ELICITATION))),
        rundir.path(RESPONSES),
        reporter,
        rundir.journals(),
    )


def _settings(config: Config) -> dict[str, object]:
    arms = [arm.model_dump(mode="json") for arm in (config.source, config.target)]
    needs_trait = config.source.demonstrate or config.target.demonstrate
    return {
        "arms": [{key: value for key, value in arm.items() if key not in _HOW} for arm in arms],
        "model": config.model.model_dump(mode="json"),
        "weights": [weights_state(weights_of(arm, config)) for arm, _ in _roles(config) if arm.kind == "local"],
        "trait": as_json(read_trait(config.trait)) if needs_trait else None,
        "recorded": [digest_file(arm.file) if arm.file and arm.file.is_file() else None for arm, _ in _roles(config)],
    }


_HOW = {*HOW, "batch_size", "file"}
"""Settings that change how the answers come and not what they are (of a file, its content counts)."""

STAGE = Stage(
    name="respond",
    reads=(ELICITATION,),
    writes=(RESPONSES,),
    settings=_settings,
    run=_run,
    asks=lambda _: ("source", "target"),
)
