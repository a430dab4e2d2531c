import socket
import time
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from steer_llama.chat import Budget, OpenAICompatibleEndpoint, build_messages
from steer_llama.config import ArmSettings, EndpointSettings
from steer_llama.errors import ConfigError, EndpointError
from steer_llama.records import ChatFailure, ChatReply, ChatRequest
from tests.chat.server import Answer, ChatServer, Script, said, serve

SOON = {"Retry-After": "0.01"}
KEY = "sk-very-secret"


def request(question: str = "Why?", repetition_penalty: float = 1.0) -> ChatRequest:
    return ChatRequest(
        key=f"key of {question}",
        messages=build_messages("Be brief.", (), question),
        temperature=0.5,
        top_p=0.9,
        repetition_penalty=repetition_penalty,
        max_tokens=12,
        seed=7,
    )


def endpoint(
    server: ChatServer,
    concurrency: int = 1,
    timeout: float = 10.0,
    max_retries: int = 2,
    budget: Budget | None = None,
    **more: Any,
) -> OpenAICompatibleEndpoint:
    settings = EndpointSettings(
        base_url=server.base_url,
        model="Pi-3.1",
        concurrency=concurrency,
        timeout=timeout,
        max_retries=max_retries,
        **more,
    )
    return OpenAICompatibleEndpoint("pi", settings, KEY, budget)


def collect(asked: OpenAICompatibleEndpoint, requests: Sequence[ChatRequest]) -> tuple[list[ChatReply], str]:
    """The replies, and the text of the error (or else the first failure) that came after them."""
    replies: list[ChatReply] = []
    failures: list[str] = []
    try:
        for outcome in asked.answer(requests):
            if isinstance(outcome, ChatReply):
                replies.append(outcome)
            else:
                failures.append(outcome.reason)
                assert KEY not in outcome.reason
    except EndpointError as error:
        assert KEY not in str(error)
        assert error.__cause__ is None
        return replies, str(error)
    return replies, "".join(failures[:1])


def texts(outcomes: Iterable[ChatReply | ChatFailure]) -> list[str]:
    return [outcome.text if isinstance(outcome, ChatReply) else outcome.reason for outcome in outcomes]


def test_a_reply_and_what_was_sent() -> None:
    with serve(lambda question, before: Answer(body=said(f"Because of {question} 🙂"))) as server:
        (reply,) = endpoint(server).answer([request()])
        assert reply == ChatReply(
            key="key of Why?",
            text="Because of Why? 🙂",
            finish_reason="stop",
            model="served",
            prompt_tokens=5,
            completion_tokens=2,
            tokens=7,
        )
        assert server.keys == [f"Bearer {KEY}"]
        assert server.bodies == [
            {
                "model": "Pi-3.1",
                "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
                "temperature": 0.5,
                "top_p": 0.9,
                "max_tokens": 12,
                "seed": 7,
            }
        ]


def test_the_repetition_penalty_is_sent_when_it_is_on() -> None:
    with serve(lambda question, before: Answer(body=said("ok"))) as server:
        list(endpoint(server).answer([request(repetition_penalty=1.2)]))
        assert server.bodies[0]["repetition_penalty"] == 1.2


def test_requests_are_under_way_together_but_not_more_than_allowed() -> None:
    with serve(lambda question, before: Answer(body=said(question), seconds=0.1)) as server:
        began = time.monotonic()
        replies = list(endpoint(server, concurrency=4).answer([request(str(number)) for number in range(12)]))
        assert set(texts(replies)) == {str(number) for number in range(12)}
        assert time.monotonic() - began < 12 * 0.1
        assert server.most_under_way == 4


def test_a_reply_comes_before_slower_ones_are_there() -> None:
    def script(question: str, before: int) -> Answer:
        return Answer(body=said(question), seconds=0.0 if question == "fast" else 0.5)

    with serve(script) as server:
        replies = endpoint(server, concurrency=2).answer([request("slow"), request("fast")])
        assert texts(replies) == ["fast", "slow"]


def test_many_requests_are_not_started_at_once() -> None:
    with serve(lambda question, before: Answer(body=said(question))) as server:
        replies = endpoint(server, concurrency=2).answer([request(str(number)) for number in range(1000)])
        assert isinstance(next(replies), ChatReply)
        time.sleep(0.2)
        # two that wait to be handed over, two whose replies fill the queue, one that was yielded
        assert len(server.bodies) <= 5
        replies.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    def script(question: str, before: int) -> Answer:
        return Answer(status, {"error": {"message": "busy"}}, SOON) if before == 0 else Answer(body=said("ok"))

    with serve(script) as server:
        replies, error = collect(endpoint(server), [request()])
        assert ([reply.text for reply in replies], error, len(server.bodies)) == (["ok"], "", 2)


def test_the_servers_wait_is_kept() -> None:
    def script(question: str, before: int) -> Answer:
        return Answer(429, {}, {"Retry-After": "0.3"}) if before == 0 else Answer(body=said("ok"))

    with serve(script) as server:
        began = time.monotonic()
        assert len(list(endpoint(server).answer([request()]))) == 1
        assert time.monotonic() - began > 0.3


def test_a_server_that_stays_busy_is_given_up() -> None:
    with serve(lambda question, before: Answer(429, {"error": {"message": "too many"}}, SOON)) as server:
        _, error = collect(endpoint(server, max_retries=2), [request()])
        assert "'Why?'" in error
        assert "HTTP 429: too many" in error
        assert "in 3 tries" in error
        assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            401,
            {"error": {"message": f"Incorrect API key: {KEY}"}},
            "refused the key (HTTP 401: Incorrect API key: ***)",
        ),
        (403, {"message": "not yours"}, "refused the key (HTTP 403: not yours)"),
        (404, {"detail": "no such model"}, "does not know it (HTTP 404: no such model)"),
        (400, {"error": {"message": "unknown model"}}, "refused the question 'Why?' (HTTP 400: unknown model)"),
        (422, "<html>\n long " + "x" * 5000, "refused the question 'Why?' (HTTP 422: <html> long xxx"),
    ],
)
def test_what_a_retry_cannot_mend_fails_at_once(status: int, body: object, says: str) -> None:
    with serve(lambda question, before: Answer(status, body, SOON)) as server:
        replies, error = collect(endpoint(server), [request()])
        assert replies == []
        assert error.startswith(f"pi (model 'Pi-3.1' at {server.base_url}): ")
        assert says in error
        assert len(error) < 600
        assert len(server.bodies) == 1


def test_a_refused_question_does_not_stop_the_others() -> None:
    def script(question: str, before: int) -> Answer:
        return Answer(400, {"error": {"message": "bad"}}) if question == "1" else Answer(body=said(question))

    with serve(script) as server:
        outcomes = list(endpoint(server, concurrency=2).answer([request(str(number)) for number in range(9)]))
        assert len(server.bodies) == 9
    (failure,) = [outcome for outcome in outcomes if isinstance(outcome, ChatFailure)]
    assert (failure.key, failure.permanent) == ("key of 1", True)
    assert "refused the question '1' (HTTP 400: bad)" in failure.reason


@pytest.mark.parametrize(("status", "retries", "calls"), [(400, 2, 3), (500, 1, 6)])
def test_a_server_that_fails_everybody_is_given_up(status: int, retries: int, calls: int) -> None:
    with serve(lambda question, before: Answer(status, {}, SOON)) as server:
        asked = endpoint(server, concurrency=1, max_retries=retries)
        _, error = collect(asked, [request(str(number)) for number in range(50)])
        assert "3 requests in a row have failed" in error
        assert len(server.bodies) == calls


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (said(None, "tool_calls"), "its content is null (finish_reason 'tool_calls')"),
        ({**said("x"), "choices": []}, "the reply has no choices"),
        ({"error": {"message": "upstream is down"}}, "the server said 'upstream is down'"),
        ("<html>Welcome</html>", "not JSON but '<html>Welcome</html>'"),
        ([1, 2], "a JSON list, expected an object with 'choices'"),
    ],
)
def test_a_reply_without_an_answer(body: object, says: str) -> None:
    with serve(lambda question, before: Answer(body=body)) as server:
        replies, error = collect(endpoint(server, max_retries=1), [request()])
        assert replies == []
        assert "no answer to the question 'Why?'" in error
        assert says in error
        assert len(server.bodies) == 2


def test_a_reply_that_is_empty_once() -> None:
    with serve(lambda question, before: Answer(body=said("ok" if before else None))) as server:
        assert texts(endpoint(server).answer([request()])) == ["ok"]


def test_an_empty_text_is_an_answer() -> None:
    with serve(lambda question, before: Answer(body=said("", "length"))) as server:
        (reply,) = endpoint(server).answer([request()])
        assert isinstance(reply, ChatReply)
        assert (reply.text, reply.finish_reason) == ("", "length")


def test_half_an_emoji_can_be_written() -> None:
    with serve(lambda question, before: Answer(body=said("so \ud83d"))) as server:
        assert texts(endpoint(server).answer([request()])) == ["so �"]


def test_a_server_that_does_not_answer_in_time() -> None:
    script: Script = lambda question, before: Answer(body=said("late"), seconds=0.6)  # noqa: E731
    with serve(script) as server:
        _, error = collect(endpoint(server, timeout=0.2, max_retries=0), [request()])
        assert "no answer within 0.2 s" in error
        assert "one try" in error


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://user:password@127.0.0.1:{taken.getsockname()[1]}/v1"
        asked = OpenAICompatibleEndpoint("pi", EndpointSettings(base_url=url, model="m", max_retries=0), KEY)
        _, error = collect(asked, [request()])
    assert "cannot be reached" in error
    assert "Connection refused" in error
    assert "password" not in error


def arm(base_url: str, **more: object) -> ArmSettings:
    return ArmSettings.model_validate({"name": "pi", "kind": "openai", "base_url": base_url, "model": "m", **more})


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(lambda question, before: Answer(body=said("ok"))) as server:
        monkeypatch.setenv("PI_KEY", f" {KEY}\n")
        list(
            OpenAICompatibleEndpoint.from_settings("pi", arm(server.base_url, api_key_env="PI_KEY")).answer([request()])
        )
        monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses")
        list(OpenAICompatibleEndpoint.from_settings("pi", arm(server.base_url)).answer([request()]))
        assert server.keys == [f"Bearer {KEY}", "Bearer no-key-was-given"]


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PI_KEY", raising=False)
    with pytest.raises(ConfigError, match="environment variable PI_KEY, which is not set"):
        OpenAICompatibleEndpoint.from_settings("pi", arm("http://127.0.0.1/v1", api_key_env="PI_KEY"))


def test_a_key_that_no_header_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PI_KEY", "sk-“quoted”")
    with pytest.raises(ConfigError, match="no HTTP header") as caught:
        OpenAICompatibleEndpoint.from_settings("pi", arm("http://127.0.0.1/v1", api_key_env="PI_KEY"))
    assert "quoted" not in str(caught.value)


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigError, match="expected an address like"):
        OpenAICompatibleEndpoint.from_settings("pi", arm("localhost:8000/v1"))
