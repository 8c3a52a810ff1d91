"""Sums in words as a problem set."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from lspo.models.tokenizers import character_tokenizer
from lspo.problems import WordSumProblems
from lspo.problems.word_sum import Part, in_words, question
from lspo.rewards import GSM8KReward


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"), (1, "one"), (10, "ten"), (13, "thirteen"), (19, "nineteen"), (20, "twenty"), (21, "twenty-one"),
        (40, "forty"), (85, "eighty-five"), (90, "ninety"), (99, "ninety-nine"),
    ],
)  # fmt: skip
def test_numbers_in_words_by_hand(number: int, words: str) -> None:
    assert in_words(number) == words


def test_every_number_has_words_of_its_own() -> None:
    assert len({in_words(number) for number in range(100)}) == 100


@pytest.mark.parametrize("number", [-1, 100])
def test_numbers_without_words_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"Expected a number from 0 to 99, but got {number}"):
        in_words(number)


def value_of(text: str) -> int:
    """The sum that a question asks for, read back from its words."""
    value = {in_words(number): number for number in range(100)}
    return sum(value[term] for term in text.removeprefix("What is ").partition("?")[0].split(" plus "))


def test_the_answer_is_the_sum_of_what_is_asked() -> None:
    assert value_of(question([17, 8])) == 25
    problems = list(WordSumProblems(64, seed=3, largest=99).problems())
    assert [value_of(problem.text) for problem in problems] == [int(problem.answer) for problem in problems]
    for problem in problems:
        assert problem.messages == (
            {"role": "user", "content": "What is two plus three?"},
            {"role": "assistant", "content": "2 + 3 = 5"},
            {"role": "user", "content": problem.text},
        )


def test_they_are_drawn_by_seed() -> None:
    first, again, other = (list(WordSumProblems(32, seed=seed).problems()) for seed in (1, 1, 2))
    assert first == again
    assert not {problem.id for problem in first} & {problem.id for problem in other}
    assert [problem.text for problem in first] != [problem.text for problem in other]


def sums(part: Part, seed: int = 0) -> set[str]:
    return {problem.text for problem in WordSumProblems(4096, seed=seed, largest=12, part=part).problems()}


def test_terms_are_from_one_to_the_largest() -> None:
    # 12 * 12 ordered pairs without 2 + 3 and 3 + 2.
    assert sums("all") == {
        question([first, second]) for first in range(1, 13) for second in range(1, 13) if {first, second} != {2, 3}
    }


def test_no_sum_is_both_trained_on_and_held_out() -> None:
    train, held_out = sums("train", 1), sums("held_out", 2)
    assert not train & held_out
    assert train | held_out == sums("all")
    assert 0.1 < len(held_out) / 142 < 0.3
    swapped = {" plus ".join(reversed(text[8:-1].split(" plus "))) for text in held_out}
    assert swapped == {text[8:-1] for text in held_out}


@pytest.mark.parametrize("largest", [5, 99])
@pytest.mark.parametrize("part", get_args(Part))
def test_every_part_has_sums(part: Part, largest: int) -> None:
    assert len(list(WordSumProblems(4, largest=largest, part=part).problems())) == 4


def test_a_chat_template_writes_the_problem() -> None:
    tokenizer = character_tokenizer("\n" + "".join(map(chr, range(32, 127))))
    tokenizer.chat_template = "{% for message in messages %}<{{ message['content'] }}>{% endfor %}"
    text = next(WordSumProblems(1).problems()).text
    (chat,) = WordSumProblems(1).prompts(tokenizer)
    assert chat.text == f"<What is two plus three?><2 + 3 = 5><{text}>"
    (plain,) = WordSumProblems(1, chat=False).prompts(tokenizer)
    assert plain.text == f"What is two plus three?\n2 + 3 = 5\n{text}\n"


@pytest.mark.parametrize(
    ("response", "accuracy"),
    [
        ("25", 1.0),
        ("Seventeen plus eight is 25.", 1.0),
        ("17 + 8 = 25", 1.0),
        ("The answer is 24.", 0.0),
        ("It is approximately 441.52.", 0.0),
        ("I like sums.", 0.0),
    ],
)
def test_the_reward_of_the_recipe_reads_what_such_models_write(response: str, accuracy: float) -> None:
    assert GSM8KReward().score(response, "25").accuracy == accuracy


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "Expected `size` to be at least 1, but got 0"),
        ({"largest": 4}, "Expected `largest` to be from 5 to 99, but got 4"),
        ({"largest": 100}, "Expected `largest` to be from 5 to 99, but got 100"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordSumProblems(**settings)
