from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lspo.rewards import FunctionReward, Response, VerlReward, score_groups
from lspo.types import Prompt, Rollout, RolloutGroup, Score

ROW: dict[str, Any] = {
    "data_source": "quiz",
    "reward_model": {"style": "rule", "ground_truth": "42"},
    "extra_info": {"index": 3},
}


def responses(*texts: str, extra: Mapping[str, Any] = ROW) -> list[Response]:
    return [Response(text, Prompt("p", "6 * 7?", (), "42", extra), 5, truncated=False) for text in texts]


def whole(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> dict[str, Any]:
    right = solution_str == ground_truth
    return {"score": 1.0 if right else -1.0, "acc": right, "pred": solution_str, "tries": 2, "note": "text"}


def bare(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> float:
    return 1.0 if solution_str == ground_truth else 0.1 * bool(solution_str)


async def later(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> bool:
    return solution_str == ground_truth


def test_numbers_of_numpy_are_logged_and_a_verl_function_is_no_plain_one() -> None:
    import numpy

    def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> Any:
        return {"score": 1.0, "acc": 1, "steps": numpy.int64(3), "share": numpy.float32(0.5), "note": "x"}

    prompt = Prompt("p", "1 + 1", (1,), "2", {"data_source": "sums"})
    (score,) = VerlReward(compute_score).score_batch([Response("2", prompt, 1, truncated=False)])
    assert dict(score.parts) == {"steps": 3.0, "share": 0.5}
    with pytest.raises(ValueError, match=r"as verl's do\. Use `VerlReward`"):
        FunctionReward(compute_score)


def test_acc_is_accuracy_score_the_reward_and_pred_the_answer() -> None:
    assert VerlReward(whole).score_batch(responses("42", "43")) == [
        Score(1.0, 1.0, {"tries": 2.0}, "42"),
        Score(0.0, -1.0, {"tries": 2.0}, "43"),
    ]


def test_a_score_alone_is_correct_above_a_bound() -> None:
    reward = VerlReward(bare, correct_above=0.1)  # .1, for the form, is not above it
    assert reward.score_batch(responses("42", "43", "")) == [Score(1.0, 1.0), Score(0.0, 0.1), Score(0.0, 0.0)]
    without_acc = VerlReward(lambda **row: {"score": 3}, correct_above=2.0)
    assert without_acc.score_batch(responses("x")) == [Score(1.0, 3.0)]


def test_a_bool_is_its_own_verdict_and_acc_is_before_the_bound() -> None:
    assert VerlReward(later).score_batch(responses("42", "43")) == [Score(1.0, 1.0), Score(0.0, 0.0)]
    assert VerlReward(whole, correct_above=-2.0).score_batch(responses("43"))[0].accuracy == 0.0


def test_what_the_function_is_given() -> None:
    seen: list[Any] = []

    def spy(**row: Any) -> bool:
        seen.append(row)
        return True

    VerlReward(spy, reward_kwargs={"strict": 1}).score_batch(responses("x"))
    truth = {"target": 24, "numbers": [4, 6]}  # what JSON makes of it is the prompt's answer
    VerlReward(spy).score_batch(
        responses("x", extra={"data_source": "countdown", "reward_model": {"ground_truth": truth}})
    )
    VerlReward(spy).score_batch(responses("x", extra={"data_source": "other"}))
    known = {"data_source": "quiz", "solution_str": "x", "ground_truth": "42", "extra_info": {"index": 3}}
    assert seen == [
        {**known, "strict": 1},
        {**known, "data_source": "countdown", "ground_truth": truth, "extra_info": None},
        {**known, "data_source": "other", "extra_info": None},
    ]


SOURCE = """
from helper_of_verl import AT
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return solution_str == ground_truth
def other(data_source, solution_str, ground_truth, extra_info=None):
    return True
value = AT
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "helper_of_verl.py").write_text("AT = 3\n")
    (tmp_path / "my_verl.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("helper_of_verl", "my_verl"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "my_verl.py"


def test_from_a_file_and_from_a_module(file: Path) -> None:
    for path in (file, str(file), "my_verl.py", "my_verl"):
        found = VerlReward(path).score_batch(responses("42", "43"))
        assert [one.accuracy for one in found] == [1.0, 0.0]
        assert VerlReward(path, "other").score_batch(responses("43"))[0].accuracy == 1.0


@pytest.mark.parametrize(
    ("path", "name", "message"),
    [
        ("my_verl.py", "computescore", r"'computescore' in my_verl\.py, but it has compute_score, other\. Say which"),
        ("my_verl.py", "value", r"Expected 'value' of my_verl\.py to be a function, but got 3"),
        ("my_verl", "computescore", "a function 'computescore' in the module 'my_verl', but there is none"),
        ("my_vrl.py", "compute_score", r"file of Python at my_vrl\.py, but there is none\. Did you mean my_verl\.py\?"),
        ("no_module", "compute_score", "from the module 'no_module', but that failed with ModuleNotFoundError"),
        ("broken.py", "compute_score", r"from broken\.py, but that failed with ZeroDivisionError"),
        ("", "compute_score", "a file of Python or a module as `path`, but got ''"),
    ],
)
def test_what_is_not_there_is_named(file: Path, path: str, name: str, message: str) -> None:
    file.with_name("broken.py").write_text("1 / 0\n")
    with pytest.raises(ValueError, match=message):
        VerlReward(path, name)


def test_another_signature_is_refused_at_once() -> None:
    def judge(response: str, answer: str) -> bool:
        return True

    with pytest.raises(ValueError, match=r"judge to be `def compute_score\(data_source, .* it takes \(response"):
        VerlReward(judge)
    with pytest.raises(ValueError, match=r"with strict, but it takes .*unexpected keyword argument 'strict'"):
        VerlReward(bare, reward_kwargs={"strict": 1}, correct_above=0.5)
    with pytest.raises(ValueError, match="`correct_above` to be finite, but got nan"):
        VerlReward(bare, correct_above=float("nan"))


def test_without_a_verdict_a_bound_is_asked_for_before_the_run() -> None:
    (response,) = responses("")
    with pytest.raises(ValueError, match=r"bare to say what is correct, .* score of 0 without `acc`\. Set `correct_ab"):
        VerlReward(bare).check(response.prompt)
    for reward in (VerlReward(bare, correct_above=0.5), VerlReward(whole), VerlReward(later)):
        reward.check(response.prompt)


def test_it_is_tried_once_per_data_source_and_only_without_a_bound() -> None:
    tried: list[str] = []

    def spy(data_source: str, **row: Any) -> bool:
        tried.append(data_source)
        return True

    prompts = [Prompt("p", "", (), "", {"data_source": name}) for name in ("a", "b", "a")]
    for reward in (VerlReward(spy), VerlReward(spy, correct_above=0.5)):
        for prompt in prompts:
            reward.check(prompt)
    assert tried == ["a", "b"]


def test_a_function_that_raises_on_empty_text_is_found_before_the_run() -> None:
    def brittle(solution_str: str, **row: Any) -> bool:
        return solution_str[0] == "4"

    with pytest.raises(ValueError, match=r"brittle raised IndexError: .* tried with an empty response, which a policy"):
        VerlReward(brittle).check(responses("")[0].prompt)


def test_data_without_a_source_is_refused() -> None:
    with pytest.raises(ValueError, match=r"column 'data_source' for \S*whole, .* has level\. Read the set with `Verl"):
        VerlReward(whole).check(Prompt("p", "", (), "42", {"level": 1}))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"acc": 1}, r"Expected a number, or a dictionary with `score`, but it returned \{'acc': 1\}"),
        ({"score": None, "acc": 1}, "Expected a number as `score`, but it returned None"),
        ("1", "Expected a number as `score`, but it returned '1'"),
        (None, "Expected a number as `score`, but it returned None"),
        ({"score": 1.0, "acc": 0.5}, "Expected accuracy 0 or 1 from reward VerlReward, but got 0.5"),
        ({"score": float("inf"), "acc": 1}, "Expected a finite reward from VerlReward, but got inf"),
    ],
)
def test_what_it_may_not_return(returned: Any, message: str) -> None:
    group = RolloutGroup(responses("")[0].prompt, 0, 0, (Rollout((1,), (), False, "x"),) * 2)
    with pytest.raises(RuntimeError, match=message):
        score_groups(VerlReward(lambda **row: returned), [group])


def test_a_response_that_takes_too_long_is_wrong_and_counted() -> None:
    def slow(solution_str: str, **row: Any) -> bool:
        time.sleep(30.0 if solution_str == "bad" else 0.0)
        return True

    reward = VerlReward(slow, time_limit_seconds=0.2)
    assert [one.accuracy for one in reward.score_batch(responses("good", "bad"))] == [1.0, 0.0]
    assert reward.metrics() == {"function/timeouts": 1.0}
