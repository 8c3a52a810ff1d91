"""Prompts through a tokenizer's chat template: tokenized once, with one start token, the same every day."""

from __future__ import annotations

from typing import Any

import pytest

from lspo.models.tokenizers import trained_tokenizer
from lspo.problems import DatasetProblems, Problem
from lspo.problems.chat import as_messages

USER = ({"role": "user", "content": "What is 1 + 1?"},)


def test_the_template_is_applied_up_to_the_response(chat_tokenizer: Any) -> None:
    prompt = Problem("p", "What is 1 + 1?", "2", USER).prompt(chat_tokenizer)
    assert prompt.text == "<bos>[user]What is 1 + 1?<eos>(26 Jul 2024)[assistant]"
    assert chat_tokenizer.decode(prompt.token_ids) == prompt.text


def test_there_is_one_start_token(chat_tokenizer: Any) -> None:
    bos = chat_tokenizer.bos_token_id
    chat = Problem("p", "What is 1 + 1?", "2", USER).prompt(chat_tokenizer)
    plain = Problem("p", "What is 1 + 1?", "2").prompt(chat_tokenizer)
    assert chat.token_ids.count(bos) == plain.token_ids.count(bos) == 1
    assert chat.token_ids[0] == plain.token_ids[0] == bos
    # What the end token is in the template is the end token, not its letters.
    assert chat_tokenizer.eos_token_id in chat.token_ids


def test_it_is_what_transformers_makes_of_the_chat(chat_tokenizer: Any) -> None:
    prompt = Problem("p", "", "2", USER).prompt(chat_tokenizer)
    expected = chat_tokenizer.apply_chat_template(list(USER), add_generation_prompt=True, date_string="26 Jul 2024")
    assert list(prompt.token_ids) == expected["input_ids"]


def test_arguments_reach_the_template(chat_tokenizer: Any, write: Any) -> None:
    path = write("set.jsonl", [{"question": "1?", "answer": "1"}])
    settings = {"thinking": True, "date_string": "1 May 2030"}
    (prompt,) = DatasetProblems(path, chat=True, chat_arguments=settings).prompts(chat_tokenizer)
    assert prompt.text == "<bos>[user]1?<eos>(1 May 2030)(thinking)[assistant]"


def test_chats_and_plain_problems_in_one_set_keep_their_places(chat_tokenizer: Any) -> None:
    from collections.abc import Iterator

    from lspo.problems import ProblemSet

    class Both(ProblemSet):
        def problems(self) -> Iterator[Problem]:
            for number in range(2500):
                yield Problem(f"p{number}", f"{number}?", "1", USER if number % 3 == 0 else ())

    prompts = Both().prompts(chat_tokenizer)
    assert [prompt.id for prompt in prompts] == [f"p{number}" for number in range(2500)]
    for number in (0, 1, 1023, 1024, 2499):
        assert prompts[number] == list(Both().problems())[number].prompt(chat_tokenizer)


def test_a_tokenizer_without_template_is_refused() -> None:
    tokenizer = trained_tokenizer(["1 + 1"], vocabulary_size=300)
    with pytest.raises(ValueError, match=r"Expected a tokenizer with a chat template.*Set `chat=False`.*chat_template"):
        Problem("p", "", "2", USER).prompt(tokenizer)


def test_messages_lose_what_is_no_part_of_them() -> None:
    assert as_messages([{"role": "user", "content": "x", "name": None}]) == ({"role": "user", "content": "x"},)
    assert as_messages("text") is None
