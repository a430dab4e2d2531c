import json
from pathlib import Path
from typing import Any

import pytest

from steer_llama import pairs
from steer_llama.errors import ConfigError, FileError, RecordError
from steer_llama.files import write_json
from steer_llama.pairs import read_filtered, read_pairs, write_filtered, write_preferences
from steer_llama.records import Message, Pair, Result

USER: Message = {"role": "user", "content": "Why?"}
SYSTEM: Message = {"role": "system", "content": "Be kind."}


def said(text: str) -> Message:
    return {"role": "assistant", "content": text}


def rows(tmp_path: Path, *values: Any) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def entries(tmp_path: Path, value: Any, name: str = "filtered.json") -> Path:
    path = tmp_path / name
    write_json(path, value)
    return path


def test_public_names_are_sorted_and_there() -> None:
    assert pairs.__all__ == sorted(pairs.__all__)
    assert all(hasattr(pairs, name) for name in pairs.__all__)


# filtered.json


def test_filtered_is_the_seeds_format(tmp_path: Path) -> None:
    path = tmp_path / "filtered.json"
    result = Result(question="Why?", source_response="A", target_response="B", score_difference=50, kept=True)
    write_filtered(path, [result], "pi", "llama")
    assert json.loads(path.read_text()) == {"Why?": {"pi_response": "A", "llama_response": "B"}}
    assert read_filtered(path) == {"Why?": {"pi_response": "A", "llama_response": "B"}}


def test_pairs_of_filtered(tmp_path: Path) -> None:
    path = entries(tmp_path, {"Why?": {"llama_response": "L", "pi_response": "P"}})
    (pair,) = read_pairs(path).pairs
    assert (pair.prompt, pair.chosen, pair.rejected, pair.name) == ((USER,), "P", "L", "Why?")
    assert pair.rejected_prompt is None
    (turned,) = read_pairs(path, "llama_response", "pi_response").pairs
    assert (turned.chosen, turned.rejected) == ("L", "P")
    (turned,) = read_pairs(path, chosen_field="llama_response").pairs
    assert (turned.chosen, turned.rejected) == ("L", "P")


def test_pairs_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "filtered.json"
    path.write_text(json.dumps({"Why?": {"llama_response": "L", "pi_response": "P"}}))
    assert read_pairs(path).pairs[0].chosen == "P"


def test_pairs_of_results_are_refused(tmp_path: Path) -> None:
    path = entries(tmp_path, {"Why?": {"llama_response": "L", "pi_response": "P", "score_difference": 1}})
    with pytest.raises(FileError, match=r"is a results\.json .* Run `steer-llama filter"):
        read_pairs(path)
    with pytest.raises(FileError, match=r"is a results\.json"):
        read_filtered(path)


def test_filtered_with_fields_that_are_not_there(tmp_path: Path) -> None:
    path = entries(tmp_path, {"Why?": {"llama_response": "L", "pi_response": "P"}})
    with pytest.raises(RecordError, match="the key 'gpt_response' is missing; found 'llama_response', 'pi_response'"):
        read_pairs(path, "gpt_response", "llama_response")
    with pytest.raises(ConfigError, match="both 'pi_response'"):
        read_pairs(path, "pi_response", "pi_response")


# DPO rows

FORMS = {
    "implicit prompt": {"chosen": [USER, said("c")], "rejected": [USER, said("r")]},
    "prompt as messages": {"prompt": [USER], "chosen": [said("c")], "rejected": [said("r")]},
    "prompt as a text, answers as messages": {"prompt": "Why?", "chosen": [said("c")], "rejected": [said("r")]},
    "prompt and again in the answers": {"prompt": "Why?", "chosen": [USER, said("c")], "rejected": [USER, said("r")]},
    "texts": {"prompt": "Why?", "chosen": "c", "rejected": "r"},
    "more keys": {"prompt": "Why?", "chosen": "c", "rejected": "r", "score_chosen": 5, "id": "x"},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_rows(tmp_path: Path, form: str) -> None:
    path = rows(tmp_path, FORMS[form])
    (pair,) = read_pairs(path).pairs
    assert (pair.prompt, pair.chosen, pair.rejected, pair.rejected_prompt) == ((USER,), "c", "r", None)
    assert pair.name == "line 1"
    (same,) = read_pairs(entries(tmp_path, [FORMS[form]], "array.json")).pairs
    assert same == pair.model_copy(update={"name": "record 1"})


@pytest.mark.parametrize("count", [1, 2])
def test_rows_in_a_file_of_another_name(tmp_path: Path, count: int) -> None:
    path = rows(tmp_path, *[FORMS["texts"]] * count).rename(tmp_path / "pairs.json")
    assert len(read_pairs(path).pairs) == count


def test_turns_before_the_answer_are_the_prompt(tmp_path: Path) -> None:
    before = [SYSTEM, {"role": "user", "content": "Hi"}, said("Hello"), USER]
    path = rows(tmp_path, {"chosen": [*before, said("c")], "rejected": [*before, said("r")]})
    assert read_pairs(path).pairs[0].prompt == tuple(before)


def test_two_system_prompts_give_two_prompts(tmp_path: Path) -> None:
    path = rows(tmp_path, {"chosen": [SYSTEM, USER, said("c")], "rejected": [USER, said("r")]})
    (pair,) = read_pairs(path, system_prompt="Be brief.").pairs
    assert pair.prompt == (SYSTEM, USER)
    assert pair.rejected_prompt == ({"role": "system", "content": "Be brief."}, USER)


def test_renamed_fields(tmp_path: Path) -> None:
    path = rows(tmp_path, {"prompt": "Why?", "good": "c", "bad": "r"})
    (pair,) = read_pairs(path, "good", "bad").pairs
    assert (pair.chosen, pair.rejected) == ("c", "r")


def test_a_system_prompt_is_put_where_there_is_none(tmp_path: Path) -> None:
    path = rows(tmp_path, FORMS["texts"], {"prompt": [SYSTEM, USER], "chosen": "c", "rejected": "r"})
    first, second = read_pairs(path, system_prompt="Be brief.").pairs
    assert first.prompt == ({"role": "system", "content": "Be brief."}, USER)
    assert second.prompt == (SYSTEM, USER)


def test_pairs_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    other: Message = {"role": "user", "content": "How?"}
    path = rows(
        tmp_path,
        {"prompt": "Why?", "chosen": " \n", "rejected": "r"},
        {"prompt": "Why?", "chosen": "c", "rejected": ""},
        {"prompt": "Why?", "chosen": "c", "rejected": "c"},
        {"chosen": [USER, said("c")], "rejected": [other, said("r")]},
        FORMS["texts"],
    )
    read = read_pairs(path)
    assert [pair.name for pair in read.pairs] == ["line 5"]
    assert read.left_out == [
        ("line 1", "the chosen answer is empty"),
        ("line 2", "the rejected answer is empty"),
        ("line 3", "both answers are the same"),
        ("line 4", "the two answers belong to different questions"),
    ]


def test_nothing_remains(tmp_path: Path) -> None:
    same = {"pi_response": "x", "llama_response": "x"}
    path = entries(tmp_path, {"a?": same, "b?": same, "c?": {"pi_response": "", "llama_response": "x"}})
    with pytest.raises(FileError, match=r"none of its 3 pairs .*2 × both answers are the same, 1 × the chosen answer"):
        read_pairs(path)


HH = "\n\nHuman: Why?\n\nAssistant: c"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "Why?", "chosen": "c"}, "the key 'rejected' is missing; found 'prompt', 'chosen'"),
        ({"prompt": "Why?", "chosen": 3, "rejected": "r"}, "'chosen' is a JSON int"),
        ({"chosen": "c", "rejected": "r"}, "'chosen' is a text, and there is no 'prompt'"),
        ({"chosen": HH, "rejected": HH}, "'chosen' is a whole dialogue in one text"),
        ({"prompt": " ", "chosen": "c", "rejected": "r"}, "'prompt' is empty"),
        ({"prompt": 3, "chosen": "c", "rejected": "r"}, "'prompt' is a JSON int"),
        ({"prompt": "Why?", "chosen": [], "rejected": "r"}, "'chosen' has no messages"),
        ({"chosen": [USER], "rejected": [USER, said("r")]}, "last message of 'chosen' has the role 'user'"),
        ({"chosen": [said("c")], "rejected": [said("r")]}, "no user message stands before the answer 'chosen'"),
        ({"chosen": [USER, "c"], "rejected": [USER, said("r")]}, "message 2 of 'chosen' is not of the form"),
        (
            {"prompt": "Why?", "chosen": [{"role": "assistant", "content": [{"type": "text"}]}], "rejected": "r"},
            "message 1 of 'chosen' is not of the form",
        ),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, row: Any, says: str) -> None:
    path = rows(tmp_path, FORMS["texts"], row)
    with pytest.raises(RecordError, match=says) as caught:
        read_pairs(path)
    assert f"{path}, line 2: " in str(caught.value)


def test_an_array_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="record 1: a JSON str"):
        read_pairs(entries(tmp_path, ["x"]))
    with pytest.raises(FileError, match="holds no pairs"):
        read_pairs(entries(tmp_path, []))


@pytest.mark.parametrize("text", ["", " \n", '{"Why?": ', "hello", "3", "\n\n"])
def test_files_that_hold_no_pairs(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pairs.json"
    path.write_text(text)
    with pytest.raises(FileError, match=r"pairs\.json"):
        read_pairs(path)


# Written


def test_preferences_are_read_again(tmp_path: Path) -> None:
    plain = Pair(prompt=(SYSTEM, USER), chosen="A", rejected="B", name="line 1")
    turns: Pair = Pair(prompt=(USER, said("x"), USER), chosen="C\n😀", rejected="D", name="line 2")
    write_preferences(tmp_path / "a.jsonl", [plain, turns])
    assert read_pairs(tmp_path / "a.jsonl").pairs == [plain, turns]
    keys = [sorted(json.loads(line)) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert keys == [["chosen", "prompt", "rejected"]] * 2
    parted = Pair(prompt=(SYSTEM, USER), chosen="A", rejected="B", rejected_prompt=(USER,), name="line 2")
    write_preferences(tmp_path / "b.jsonl", [plain, parted])
    assert read_pairs(tmp_path / "b.jsonl").pairs == [plain, parted]
    keys = [sorted(json.loads(line)) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert keys == [["chosen", "rejected"]] * 2, "TRL's implicit prompt, in all rows"
