"""What servers and the lines to them do wrong, one by one, and how many calls that costs."""

import json
import threading
import time
from typing import Any

import pytest

from steer_llama.chat import Budget, OpenAICompatibleEndpoint, Spending, build_messages
from steer_llama.config import BudgetSettings, EndpointSettings, Price
from steer_llama.errors import BudgetError, ConfigError, EndpointError
from steer_llama.records import ChatFailure, ChatReply, ChatRequest
from tests.chat.server import Answer, ChatServer, said, serve, streamed

GOOD = said("fine")


def request(question: str = "Why?", **more: Any) -> ChatRequest:
    sampling = {"temperature": 0.5, "top_p": 0.9, "repetition_penalty": 1.0, "max_tokens": 12, "seed": 7}
    return ChatRequest(key=question, messages=build_messages("", (), question), **{**sampling, **more})


def endpoint(server: ChatServer, budget: Budget | None = None, **settings: Any) -> OpenAICompatibleEndpoint:
    whole = {"base_url": server.base_url, "model": "m", "timeout": 0.5, "max_retries": 4, "max_wait": 2.0, **settings}
    whole.setdefault("api_key_env", "THE_KEY")
    return OpenAICompatibleEndpoint("pi", EndpointSettings(**whole), "sk-secret", budget)


def asked(server: ChatServer, questions: int = 1, **settings: Any) -> list[ChatReply | ChatFailure]:
    return list(endpoint(server, **settings).answer([request(str(n)) for n in range(questions)]))


@pytest.mark.parametrize(
    "fault",
    [
        Answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.1"}),
        Answer(429, {}, {"retry-after-ms": "50"}),
        Answer(500, {"error": "x"}),
        Answer(502, "<html><h1>Bad Gateway</h1></html>"),
        Answer(503, "", {"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"}),
        Answer(529, {"error": {"message": "overloaded"}}),
        Answer(body=GOOD, seconds=1.0),
        Answer(body=GOOD, cut=30),
        Answer(body=GOOD, cut=0),
        Answer(body=json.dumps(GOOD)[:-20], content_type="application/json"),
        Answer(body={**GOOD, "choices": []}),
        Answer(body={"choices": "none"}),
        Answer(body={"choices": [{"message": {"content": 5}}]}),
        Answer(body={"error": {"message": "upstream"}}),
        Answer(body="<html>We are back soon</html>"),
        Answer(body="null"),
        Answer(body=said(None)),
        Answer(body=said("half an ans", "abort")),
        Answer(body="[" * 5000, content_type="application/json"),
        Answer(503, {}, {"Retry-After": "Fri, 31 Dec 99999 23:59:59 GMT"}),
        Answer(503, {}, {"Retry-After": "0"}),
    ],
    ids=lambda fault: f"{fault.status} {str(fault.body)[:20]} cut={fault.cut} {fault.seconds}",
)
def test_a_fault_that_passes_costs_one_call(fault: Answer) -> None:
    with serve(lambda question, before: fault if before == 0 else Answer(body=GOOD)) as server:
        (reply,) = asked(server)
        assert isinstance(reply, ChatReply), reply.reason
        assert (reply.text, reply.calls) == ("fine", 2)
        assert len(server.bodies) == 2


def test_a_wrong_content_type_around_a_good_answer_is_none_of_our_business() -> None:
    with serve(lambda question, before: Answer(body=GOOD, content_type="text/plain")) as server:
        (reply,) = asked(server)
        assert isinstance(reply, ChatReply)
        assert (reply.text, len(server.bodies)) == ("fine", 1)


@pytest.mark.parametrize("body", ["<html>hello</html>", {**GOOD, "choices": []}, said(None)])
def test_an_unusable_reply_is_not_asked_for_seven_times(body: object) -> None:
    with serve(lambda question, before: Answer(body=body)) as server:
        (failure,) = asked(server, max_retries=6)
        assert isinstance(failure, ChatFailure)
        assert not failure.permanent
        assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Answer(401, {"error": {"message": "bad key sk-secret"}}), "refused the key (HTTP 401: bad key ***)"),
        (Answer(404, {"error": {"message": "no model m"}}), "does not know it (HTTP 404: no model m)"),
        (
            Answer(429, {"error": {"message": "pay", "code": "insufficient_quota"}}),
            "the account has nothing left (HTTP 429: pay)",
        ),
    ],
)
def test_what_concerns_every_request_stops_at_once(fault: Answer, says: str) -> None:
    with serve(lambda question, before: fault) as server:
        with pytest.raises(EndpointError) as caught:
            asked(server, questions=100, concurrency=4)
        assert says in str(caught.value)
        assert str(caught.value).startswith(f"pi (model 'm' at {server.base_url})")
        assert "sk-secret" not in str(caught.value)
        assert len(server.bodies) <= 4


def test_a_longer_wait_than_we_have_patience_for() -> None:
    with serve(lambda question, before: Answer(429, {}, {"Retry-After": "3600"})) as server:
        (failure,) = asked(server)
        assert isinstance(failure, ChatFailure)
        assert "asks to wait 3600 s, and 'max_wait' is 2 s" in failure.reason
        assert len(server.bodies) == 1


def test_all_requests_keep_the_wait_that_one_is_told() -> None:
    """One of four is told to wait for a second; the three others answer soon, and then nobody asks before its end."""
    times: list[float] = []
    told: list[float] = []

    def script(question: str, before: int) -> Answer:
        times.append(time.monotonic())
        if question == "0" and before == 0:
            told.append(times[-1])
            return Answer(429, {}, {"Retry-After": "1"})
        return Answer(body=GOOD, seconds=0.2)

    with serve(script) as server:
        replies = asked(server, questions=20, concurrency=4, timeout=5)
    assert all(isinstance(reply, ChatReply) for reply in replies)
    assert len(times) == 21
    assert sum(moment < told[0] + 1 for moment in times) == 4


def test_a_server_that_dies_and_comes_back() -> None:
    with serve(lambda question, before: Answer(body=said(question), seconds=0.05)) as first:
        port = int(first.base_url.split(":")[-1].split("/")[0])
        asking = endpoint(first, concurrency=2, max_retries=12, timeout=5)
        replies = asking.answer([request(str(n)) for n in range(30)])
        early = [next(replies) for _ in range(4)]
    came_back = threading.Event()

    def come_back() -> None:
        time.sleep(1.0)
        with serve(lambda question, before: Answer(body=said(question)), port):
            came_back.wait(60)

    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        outcomes = [*early, *replies]
    finally:
        came_back.set()
        thread.join()
    assert {outcome.key for outcome in outcomes if isinstance(outcome, ChatReply)} == {str(n) for n in range(30)}
    assert len(outcomes) == 30


def test_a_server_that_does_not_come_back_is_not_tried_for_every_question() -> None:
    with serve(lambda question, before: Answer(body=said(question))) as server:
        asking = endpoint(server, concurrency=1, max_retries=1)
        assert isinstance(asking.ask(request("first")), ChatReply)
    outcomes: list[ChatReply | ChatFailure] = []
    with pytest.raises(EndpointError, match="3 requests in a row have failed"):
        outcomes.extend(asking.answer([request(str(n)) for n in range(50)]))
    assert len(outcomes) == 2


def test_a_streamed_answer() -> None:
    with serve(lambda question, before: Answer(pieces=streamed("Hel", "lo 🙂"))) as server:
        (reply,) = asked(server, stream=True)
        assert isinstance(reply, ChatReply)
        assert (reply.text, reply.finish_reason, reply.prompt_tokens) == ("Hello 🙂", "stop", 5)
        assert server.bodies[0]["stream"] is True


@pytest.mark.parametrize(
    "fault",
    [
        Answer(pieces=streamed("Hel", finish_reason=None)),
        Answer(pieces=streamed("Hel", "lo"), cut=150),
        Answer(pieces=('{"error": {"message": "out of memory"}}',)),
        Answer(pieces=('{"choices": [{"delta": {"content": "He',)),
        Answer(pieces=("null",)),
        Answer(pieces=streamed()),
    ],
    ids=["ends early", "breaks", "error", "half a piece", "no object", "no content"],
)
def test_a_broken_stream_is_asked_for_again(fault: Answer) -> None:
    with serve(lambda question, before: fault if before == 0 else Answer(pieces=streamed("whole"))) as server:
        (reply,) = asked(server, stream=True)
        assert isinstance(reply, ChatReply), reply.reason
        assert (reply.text, len(server.bodies)) == ("whole", 2)


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "42", "reasoning_content": "hm"}, "42", "hm"),
        ({"content": "42", "reasoning": "hm"}, "42", "hm"),
        ({"content": "<think>\nhm\n</think>\n\n42"}, "42", "hm"),
        ({"content": "hm, well\n</think>\n\n42"}, "42", "hm, well"),
        ({"content": "<think>hm, and then"}, "", "hm, and then"),
        ({"content": None, "reasoning_content": "hm"}, "", "hm"),
        ({"content": "Close it with </think>, like so."}, "Close it with </think>, like so.", ""),
        ({"content": [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]}, "42", ""),
        ({"content": None, "refusal": "I will not."}, "I will not.", ""),
    ],
)
def test_thoughts_are_kept_apart(message: dict[str, Any], text: str, reasoning: str) -> None:
    body = {**GOOD, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    with serve(lambda question, before: Answer(body=body)) as server:
        (reply,) = asked(server)
    assert isinstance(reply, ChatReply)
    assert (reply.text, reply.reasoning) == (text, reasoning)


def test_log_probabilities_are_those_of_the_answer() -> None:
    tokens = ["<think>", "7", "?", "</think>", "\n\n", "4", "2"]
    places = [{"token": t, "logprob": -0.1, "top_logprobs": [{"token": t, "logprob": -0.1}]} for t in tokens]
    choice = {"finish_reason": "stop", "message": {"content": "".join(tokens)}, "logprobs": {"content": places}}
    with serve(lambda question, before: Answer(body={**GOOD, "choices": [choice]})) as server:
        (reply,) = endpoint(server).answer([request(top_logprobs=3)])
        assert (server.bodies[0]["logprobs"], server.bodies[0]["top_logprobs"]) == (True, 3)
    assert isinstance(reply, ChatReply)
    assert [step.token for step in reply.steps] == ["4", "2"]
    assert reply.steps[0].top[0].logprob == -0.1


def test_what_goes_beyond_a_plain_question() -> None:
    with serve(lambda question, before: Answer(body=GOOD)) as server:
        settings: dict[str, Any] = {
            "extra_body": {"top_k": 5},
            "omit": ("seed",),
            "max_tokens_key": "max_completion_tokens",
        }
        list(endpoint(server, **settings).answer([request(answer_schema={"type": "object"}, continues=True)]))
        (body,) = server.bodies
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert body["response_format"]["json_schema"]["strict"] is True
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert (body["top_k"], body["max_completion_tokens"]) == (5, 12)
    assert "seed" not in body
    assert "max_tokens" not in body


def test_the_pace_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steer_llama.chat.pace._MINUTE", 1000)
    times: list[float] = []

    def script(question: str, before: int) -> Answer:
        times.append(time.monotonic())
        return Answer(body=GOOD)

    with serve(script) as server:
        asked(server, questions=25, concurrency=8, requests_per_minute=10, timeout=5)
    for first, eleventh in zip(times, times[10:], strict=False):
        assert eleventh - first > 0.9, "eleven requests within the time for ten"


def test_tokens_have_a_pace_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steer_llama.chat.pace._MINUTE", 1000)
    times: list[float] = []

    def script(question: str, before: int) -> Answer:
        times.append(time.monotonic())
        return Answer(body=GOOD)

    with serve(script) as server:  # 12 tokens of answer and about 8 of prompt: five fit into 100
        asked(server, questions=12, concurrency=8, tokens_per_minute=100, timeout=5)
    for first, sixth in zip(times, times[5:], strict=False):
        assert sixth - first > 0.9


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_budget_of_calls_ends_exactly(concurrency: int) -> None:
    budget = Budget(BudgetSettings(max_calls=10))
    replies: list[ChatReply | ChatFailure] = []
    with serve(lambda question, before: Answer(body=GOOD)) as server:
        asking = endpoint(server, budget, concurrency=concurrency)
        with pytest.raises(BudgetError, match=r"budget.max_calls is 10, 10 calls, 70 tokens are spent"):
            replies.extend(asking.answer([request(str(n)) for n in range(40)]))
        assert len(server.bodies) == len(replies) == 10


def test_retries_are_paid_for() -> None:
    budget = Budget(BudgetSettings(max_calls=3))
    with serve(lambda question, before: Answer(500, {})) as server:
        with pytest.raises(BudgetError):
            list(endpoint(server, budget).answer([request()]))
        assert len(server.bodies) == 3


def test_tokens_and_money_never_exceed_their_limits() -> None:
    price = Price(input=1.0, output=10.0)
    for limits in (BudgetSettings(max_tokens=100), BudgetSettings(max_cost=0.000_3)):
        budget = Budget(limits, Spending(calls=1, tokens=7, cost=0.000_025))
        with serve(lambda question, before: Answer(body=GOOD)) as server:
            with pytest.raises(BudgetError):
                list(endpoint(server, budget, concurrency=8, price=price).answer([request(str(n)) for n in range(40)]))
            assert budget.spent.calls == 1 + len(server.bodies)
            assert 5 < budget.spent.calls < 16
        assert budget.spent.tokens == 7 * budget.spent.calls
        assert budget.spent.cost == pytest.approx(0.000_025 * budget.spent.calls)


LISTED = Answer(body={"object": "list", "data": [{"id": "m", "object": "model"}]})
ANOTHER = Answer(body={"object": "list", "data": [{"id": "n", "object": "model"}]})


@pytest.mark.parametrize(
    ("models", "chat", "may_ask", "calls", "says"),
    [
        (LISTED, Answer(404, {}), False, 0, None),
        (LISTED, Answer(body=GOOD), True, 1, None),
        (LISTED, Answer(401, {}), True, 1, "refused the key"),
        (ANOTHER, Answer(body=GOOD), False, 1, None),
        (ANOTHER, Answer(404, {"detail": "no m here"}), False, 1, r"HTTP 404: no m here.* It has n\."),
        (ANOTHER, Answer(400, {"detail": "what is m?"}), False, 1, r"HTTP 400: what is m\?.* It has n\."),
        (Answer(401, {"error": {"message": "sk-secret is wrong"}}), Answer(body=GOOD), True, 0, "refused the key"),
        (Answer(403, {}), Answer(body=GOOD), True, 1, None),
        (Answer(403, {}), Answer(403, {}), True, 1, "refused the key"),
        (Answer(404, {}), Answer(404, {}), False, 0, None),
        (Answer(404, {}), Answer(body=GOOD), True, 1, None),
        (Answer(body=["odd"]), Answer(body=GOOD), True, 1, None),
    ],
)
def test_access_is_checked_at_no_cost_where_that_is_possible(
    models: Answer, chat: Answer, may_ask: bool, calls: int, says: str | None
) -> None:
    with serve(lambda question, before: chat) as server:
        server.models = models
        if says is None:
            endpoint(server).check_access(may_ask=may_ask)
        else:
            with pytest.raises(EndpointError, match=says) as caught:
                endpoint(server).check_access(may_ask=may_ask)
            assert "sk-secret" not in str(caught.value)
        assert len(server.bodies) == calls


def test_openai_gets_no_lengths_in_a_schema() -> None:
    text = {"type": "string", "maxLength": 9}
    schema = {"type": "object", "properties": {"list": {"type": "array", "items": text, "maxItems": 2}, "one": text}}
    with serve(lambda question, before: Answer(body=GOOD)) as server:
        for preset in ("openai", "vllm"):
            list(endpoint(server, preset=preset).answer([request(answer_schema=schema)]))
        sent = [body["response_format"]["json_schema"]["schema"] for body in server.bodies]
    assert sent[1] == schema
    assert sent[0]["properties"]["list"] == {"type": "array", "items": {"type": "string"}, "maxItems": 2}
    assert sent[0]["properties"]["one"] == {"type": "string"}


ODD = {"token": "9", "logprob": -0.1}


@pytest.mark.parametrize(
    "odd",
    [
        {"usage": {"prompt_tokens": "many", "completion_tokens": 2.5}},
        {"usage": "none"},
        {"usage": {"prompt_tokens": -5, "completion_tokens": -7}},
        {"model": 5},
        {"model": "half \ud83d"},
        {"choices": [{"message": {"content": "fine"}, "logprobs": {"content": [{**ODD, "top_logprobs": None}]}}]},
        {"choices": [{"message": {"content": [{"type": "text", "text": "fine"}, {"type": "x", "text": None}]}}]},
    ],
    ids=str,
)
def test_a_whole_answer_among_oddities_is_kept(odd: dict[str, Any]) -> None:
    budget = Budget()
    with serve(lambda question, before: Answer(body={**GOOD, **odd})) as server:
        (reply,) = endpoint(server, budget).answer([request(top_logprobs=1)])
    assert isinstance(reply, ChatReply), reply.reason
    assert (reply.text, reply.calls) == ("fine", 1)
    reply.model_dump_json().encode()
    assert budget.spent.tokens == reply.tokens > 0, "what is not counted is estimated"


def test_log_probabilities_that_are_none() -> None:
    tops = [{"token": "90", "logprob": -0.01}, {"token": "10", "logprob": float("nan")}, {"token": "5", "logprob": 3.0}]
    choice = {"message": {"content": "90"}, "logprobs": {"content": [{**tops[0], "top_logprobs": tops}]}}
    with serve(lambda question, before: Answer(body={**GOOD, "choices": [choice]})) as server:
        (reply,) = endpoint(server).answer([request(top_logprobs=3)])
    assert isinstance(reply, ChatReply)
    assert [one.token for one in reply.steps[0].top] == ["90"]


def test_a_stream_that_a_filter_ends_is_a_refusal() -> None:
    with serve(lambda question, before: Answer(pieces=streamed("", finish_reason="content_filter"))) as server:
        (failure,) = asked(server, stream=True)
        assert isinstance(failure, ChatFailure)
        assert failure.permanent
        assert len(server.bodies) == 1


@pytest.mark.parametrize("url", ["http://host:abc/v1", "http://[::1/v1", "ftp://host/v1"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError, match=r"pi: base_url"):
        OpenAICompatibleEndpoint("pi", EndpointSettings(base_url=url, model="m"))


def test_a_key_in_the_place_of_its_variable_is_not_repeated() -> None:
    settings = EndpointSettings(base_url="http://host/v1", model="m", api_key_env="sk-very-secret-1")
    with pytest.raises(ConfigError, match="no name of an environment variable") as caught:
        OpenAICompatibleEndpoint.from_settings("pi", settings)
    assert "secret" not in str(caught.value)
