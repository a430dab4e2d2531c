"""``respond``: asks source and target every question; each answer is journalled the moment it arrives."""

from pathlib import Path
from typing import Literal

from steer_llama.chat import Journal
from steer_llama.config import ArmSettings, Config
from steer_llama.elicitations import read_elicitation, read_trait, with_split
from steer_llama.files import check_output, digest_file, write_jsonl
from steer_llama.progress import Reporter
from steer_llama.records import ChatReply, Elicitation, Response, as_json
from steer_llama.rundir import ELICITATION, RESPONSES, RunDir
from steer_llama.stages.arms import open_endpoint, requests_for, weights_of, weights_state
from steer_llama.stages.journalled import journalled
from steer_llama.stages.stage import Stage


def respond(config: Config, elicitation: Elicitation, out: Path, reporter: Reporter) -> list[Response]:
    """Ask both arms and write ``responses.jsonl`` (in the questions' order, source first).

    Answers go to ``<name>.journal.jsonl`` beside it as they arrive; what is there is not asked again.

    Raises:
        EndpointError: an endpoint failed for good; what had arrived is kept.
        StorageError: the journal cannot be written.
    """
    check_output(out)
    journal_path = out.with_name(out.stem + ".journal.jsonl")
    with Journal(journal_path) as journal:
        known = {reply.key: reply for reply in journalled(journal, ChatReply)}
        answers: dict[str, dict[str, ChatReply]] = {}
        for arm in (config.source, config.target):
            answers[arm.name] = _ask(arm, config, elicitation, known, journal, reporter)
    responses = [
        _response(arm, role, elicitation, question, answers[arm.name][question])
        for question in elicitation.questions
        for arm, role in _roles(config)
    ]
    write_jsonl(out, [as_json(response) for response in responses])
    return responses


def _roles(config: Config) -> tuple[tuple[ArmSettings, Literal["source", "target"]], ...]:
    return ((config.source, "source"), (config.target, "target"))


def _ask(
    arm: ArmSettings,
    config: Config,
    elicitation: Elicitation,
    known: dict[str, ChatReply],
    journal: Journal,
    reporter: Reporter,
) -> dict[str, ChatReply]:
    """The arm's replies by question: from the journal, or asked for now."""
    requests = requests_for(arm, config, elicitation.questions)
    missing = [request for request in requests if request.key not in known]
    if missing:
        endpoint = open_endpoint(arm, config, reporter)
        with reporter.task(f"asking {arm.name}", len(requests), "answers", len(requests) - len(missing)) as advance:
            for reply in endpoint.answer(missing):
                journal.append(as_json(reply))
                known[reply.key] = reply
                advance(1)
    replies = {q: known[request.key] for q, request in zip(elicitation.questions, requests, strict=True)}
    empty = sum(not reply.text.strip() for reply in replies.values())
    cut = sum(reply.finish_reason == "length" for reply in replies.values())
    reporter.note(
        f"{arm.name}: {len(replies)} answers, {len(missing)} of them asked now"
        + (f", {cut} cut at {arm.sampling.max_tokens} tokens" if cut else "")
        + (f", {empty} empty" if empty else "")
    )
    return replies


def _response(
    arm: ArmSettings, role: Literal["source", "target"], elicitation: Elicitation, question: str, reply: ChatReply
) -> Response:
    assert elicitation.split is not None, "an elicitation in use has a split"
    return Response(
        key=reply.key,
        arm=arm.name,
        role=role,
        split=elicitation.split.of(question),
        question=question,
        text=reply.text,
        finish_reason=reply.finish_reason,
        model=reply.model,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )


def _run(config: Config, rundir: RunDir, reporter: Reporter) -> None:
    respond(config, with_split(read_elicitation(rundir.path(ELICITATION))), rundir.path(RESPONSES), reporter)


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


_HOW = ("concurrency", "timeout", "max_retries", "batch_size", "api_key_env", "file")
"""Settings that change how the answers come and not what they are (of a file, its content counts)."""

STAGE = Stage(name="respond", reads=(ELICITATION,), writes=(RESPONSES,), settings=_settings, run=_run)
