from collections.abc import Iterator
from pathlib import Path

import pytest

from steer_llama.elicitations import read_elicitation
from tests.chat.author_server import author, questions
from tests.chat.server import ChatServer
from tests.cli.command import Ran, steer_llama
from tests.cli.small_run import write_json

ARMS = {"source": {"name": "pi", "kind": "local"}, "target": {"name": "llama", "kind": "local"}}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with author(lambda _, number: questions(0, number)) as chat:
        yield chat


def elicit(folder: Path, server: ChatServer, *argv: object, **more: object) -> Ran:
    endpoint = {"base_url": server.base_url, "model": "big"}
    config = write_json(folder / "config.json", {**ARMS, "author": {"endpoint": endpoint}, **more})
    return steer_llama("elicit", *argv, "-c", config)


def test_a_packaged_trait_is_written_anew(tmp_path: Path, server: ChatServer) -> None:
    given = {"elicitation": "gone.json"}  # the verb writes one whatever the configuration has
    ran = elicit(tmp_path, server, "emoji", "-o", tmp_path / "out" / "p", "--set", "author.questions=12", **given)
    assert ran.code == 0, ran.err
    file = tmp_path / "out" / "p" / "elicitation.json"
    assert (
        f"trait emoji: 12 questions (6 extract, 2 dev, 4 test), written in 3 calls, not usable: nothing; wrote {file}"
        in ran.said
    )
    first = file.read_bytes()
    assert elicit(tmp_path, server, "emoji", "-o", file, "--set", "author.questions=12", **given).code == 0
    assert file.read_bytes() == first
    assert len(server.bodies) == 3


def test_a_trait_of_the_users_own(tmp_path: Path, server: ChatServer) -> None:
    trait = write_json(tmp_path / "rude.json", {"name": "Rude", "trait_instruction": "Rude: it insults."})
    out = tmp_path / "asked.json"
    ran = elicit(tmp_path, server, trait, "-o", out, "--set", "author.questions_per_call=40")
    assert ran.code == 0, ran.err
    assert len(read_elicitation(out).questions) == 40
    assert (tmp_path / "asked.journal.jsonl").exists()


def test_without_an_author(tmp_path: Path, server: ChatServer) -> None:
    ran = elicit(tmp_path, server, "emoji", "-o", tmp_path / "out", author=None)
    assert ran.code == 2
    assert "no 'author' to write what is asked. Add one" in ran.said
    assert not (tmp_path / "out").exists()


def test_a_trait_that_is_not_there(tmp_path: Path, server: ChatServer) -> None:
    ran = elicit(tmp_path, server, "gloomy", "-o", tmp_path / "out")
    assert ran.code == 2
    assert "gloomy" in ran.said
    assert server.bodies == []
