from pathlib import Path

import pytest

from steer_llama.config import Config
from steer_llama.elicitations import read_elicitation
from steer_llama.errors import ConfigError, EndpointError, RecordError
from steer_llama.files import write_json
from steer_llama.progress import SilentReporter
from steer_llama.rundir import RunDir
from steer_llama.stages.elicit import STAGE, elicit
from tests.chat.author_server import PAIRS, author, question, questions

TRAIT = {"name": "Rude", "trait_instruction": "Rude: …"}


def config(**more: object) -> Config:
    arms = {"source": {"name": "pi", "kind": "local"}, "target": {"name": "llama", "kind": "local"}}
    return Config.model_validate({**arms, **more})


def trait_file(tmp_path: Path) -> Path:
    path = tmp_path / "rude.json"
    write_json(path, TRAIT)
    return path


def questions_file(tmp_path: Path, count: int, name: str = "asked.json") -> Path:
    path = tmp_path / name
    write_json(path, {"questions": [f"{number}?" for number in range(count)], "eval prompt": "x"})
    return path


def test_a_packaged_trait(tmp_path: Path) -> None:
    reporter = SilentReporter()
    with RunDir(tmp_path).open() as run:
        STAGE.run(config(trait="emoji"), run, reporter)
    written = read_elicitation(tmp_path / "elicitation.json")
    packaged = read_elicitation("emoji")
    assert written.questions == packaged.questions
    assert written.split is not None
    assert f"{len(written.questions)} questions" in reporter.notes[0]


def test_files_of_the_users_own(tmp_path: Path) -> None:
    asked = config(trait=str(trait_file(tmp_path)), elicitation=questions_file(tmp_path, 10))
    STAGE.run(asked, RunDir(tmp_path), SilentReporter())
    written = read_elicitation(tmp_path / "elicitation.json")
    assert (written.trait, written.eval_prompt) == ("Rude", "x")
    assert written.split is not None
    assert len(written.split.extract) == 5


def test_a_trait_file_wants_questions(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'rude' is a file of its own.* Give 'elicitation'.* or 'author'"):
        STAGE.run(config(trait=str(trait_file(tmp_path))), RunDir(tmp_path), SilentReporter())


def test_too_few_questions_are_named(tmp_path: Path) -> None:
    path = questions_file(tmp_path, 2)
    with pytest.raises(RecordError, match="'questions' has 2") as caught:
        STAGE.run(config(elicitation=path), RunDir(tmp_path), SilentReporter())
    assert str(path) in str(caught.value)
    assert not (tmp_path / "elicitation.json").exists()


def test_a_changed_file_is_a_changed_setting(tmp_path: Path) -> None:
    asked = config(elicitation=questions_file(tmp_path, 10))
    before = STAGE.settings(asked)
    assert STAGE.settings(asked) == before
    questions_file(tmp_path, 11)
    assert STAGE.settings(asked) != before
    moved = config(elicitation=questions_file(tmp_path, 10, "moved.json"))
    assert STAGE.settings(moved) == before


def authored(tmp_path: Path, base_url: str, **more: object) -> Config:
    server = {"base_url": base_url, "model": "big", "max_retries": 0}
    settings = {"endpoint": server, "questions_per_call": 40, **more}
    return config(trait=str(trait_file(tmp_path)), author=settings)


def test_an_author_writes_in_three_calls_and_is_not_asked_twice(tmp_path: Path) -> None:
    reporter = SilentReporter()
    with author(lambda _, number: questions(0, number)) as server:
        asked = authored(tmp_path, server.base_url)
        STAGE.run(asked, RunDir(tmp_path), reporter)
        assert len(server.bodies) == 3
        assert {body["max_tokens"] for body in server.bodies} == {4096}
        assert len({body["seed"] for body in server.bodies}) == 3
        first = (tmp_path / "elicitation.json").read_bytes()
        (tmp_path / "elicitation.json").unlink()
        STAGE.run(asked, RunDir(tmp_path), SilentReporter())
        assert len(server.bodies) == 3
    assert (tmp_path / "elicitation.json").read_bytes() == first
    written = read_elicitation(tmp_path / "elicitation.json")
    assert written.trait == "Rude"
    assert list(written.questions) == [question(number) for number in range(40)]
    assert [pair.pos for pair in written.instruction] == [pair["pos"] for pair in PAIRS]
    assert (written.eval_prompt.count("{question}"), written.eval_prompt.count("{answer}")) == (1, 1)
    assert written.split is not None
    assert [len(part) for part in (written.split.extract, written.split.dev, written.split.test)] == [20, 8, 12]
    assert reporter.notes == [
        "trait Rude: 40 questions (20 extract, 8 dev, 12 test), written in 3 calls, not usable: nothing"
    ]


def test_thoughts_are_no_part_of_the_answer(tmp_path: Path) -> None:
    with author(lambda _, number: questions(0, number), thoughts='<think>{"questions": []}</think>\n') as server:
        STAGE.run(authored(tmp_path, server.base_url), RunDir(tmp_path), SilentReporter())
        assert len(server.bodies) == 3
    assert len(read_elicitation(tmp_path / "elicitation.json").questions) == 40


def test_a_run_that_broke_off_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    limit: int | None = None

    def write(asked: int, number: int) -> str:
        # The first of each reply repeats one that is there: the repairs have to come out the same as well.
        return questions(max(0, 6 * asked - 1), number)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    with author(write, lambda: limit) as server:
        STAGE.run(authored(tmp_path, server.base_url, questions_per_call=7), RunDir(whole), SilentReporter())
        calls = len(server.bodies)
        told = [body["messages"] for body in server.bodies]
    limit = 5
    with author(write, lambda: limit) as server:
        # A server of its own has another address, which is part of what a request is.
        asked = authored(tmp_path, server.base_url, questions_per_call=7)
        with pytest.raises(EndpointError):
            STAGE.run(asked, RunDir(broken), SilentReporter())
        assert not (broken / "elicitation.json").exists()
        limit = None
        STAGE.run(asked, RunDir(broken), SilentReporter())
        answered = [body["messages"] for place, body in enumerate(server.bodies) if place != 5]
    assert answered == told
    assert len(answered) == calls
    assert (broken / "elicitation.json").read_bytes() == (whole / "elicitation.json").read_bytes()


def test_an_author_that_has_no_more_to_say(tmp_path: Path) -> None:
    with author(lambda _asked, _number: questions(0, 10)) as server:
        with pytest.raises(EndpointError, match=r"asked 6 times \(author.max_calls\) and wrote 10 of 40 usable quest"):
            STAGE.run(authored(tmp_path, server.base_url, max_calls=6), RunDir(tmp_path), SilentReporter())
        assert len(server.bodies) == 6


def test_a_given_file_needs_no_author(tmp_path: Path) -> None:
    asked = authored(tmp_path, "http://127.0.0.1:1/v1")
    given = asked.model_copy(update={"elicitation": questions_file(tmp_path, 10)})
    STAGE.run(given, RunDir(tmp_path), SilentReporter())
    assert len(read_elicitation(tmp_path / "elicitation.json").questions) == 10


def test_nobody_is_asked_for_settings(tmp_path: Path) -> None:
    asked = authored(tmp_path, "http://127.0.0.1:1/v1")
    before = STAGE.settings(asked)
    assert STAGE.settings(authored(tmp_path, "http://127.0.0.1:1/v1", max_calls=7)) == before
    for more in ({"questions": 12}, {"instructions": 3}):
        assert STAGE.settings(authored(tmp_path, "http://127.0.0.1:1/v1", **more)) != before
    assert STAGE.settings(authored(tmp_path, "http://127.0.0.1:2/v1")) != before
    with pytest.raises(ConfigError, match=r"'author' is to write .*steer-llama elicit"):
        elicit(asked)
