"""`lspo check`, as a user calls it, and its sections by hand."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from lspo.cli.check_golds import gold_findings
from lspo.cli.check_memory import Shape
from lspo.cli.check_sampling import Sampled, sample_findings
from lspo.cli.check_sections import verdict_of
from lspo.cli.main import main
from lspo.lightning_modules.callbacks.problem_results import ProblemResult
from lspo.rewards import ExactMatchReward, GSM8KReward
from lspo.types import Prompt


@pytest.fixture
def flags(policy_folder: Path) -> list[str]:
    return [
        f"--model.model={policy_folder}", "--data.train=lspo.problems.RunningSumProblems",
        "--data.train.init_args.size=12", "--data.reward=lspo.rewards.ExactMatchReward",
        "--data.sampling.max_response_tokens=6", "--data.group_size=4", "--data.train_groups=4",
        "--data.minibatch_groups=4", "--trainer.accelerator=cpu",
    ]  # fmt: skip


def test_a_policy_that_is_never_right_would_waste_the_run(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", *flags, "--problems", "3"])
    assert ended.value.code == 1
    shown = capsys.readouterr().out
    for words in (
        "ok    train: 12 prompts",
        "sum-0-0, 17 tokens, answer '",
        "ok    train: prompts of 17 tokens (median), 17 (95%), 17 (longest)",
        "ok    train: 12 of 12 right answers score 1 (12 as #### ...)",
        "GiB for the largest micro-batch of 16 x 23 tokens",
        "3 prompts x 8 responses: accuracy 0.000; 3 prompts all wrong, 0 all right",
        "stop  expected mixed groups, mean of 1 - p^G - (1-p)^G: 0% at group_size=4, 0% at 8",
        "stop: 1 of ",
    ):
        assert words in shown
    assert list(tmp_path.iterdir()) == []


def test_a_reward_that_is_sometimes_right(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", *flags, "--data.reward=lspo.testing.ScriptedReward", "--problems", "4"])
    shown = capsys.readouterr().out
    assert "ok    expected mixed groups" in shown
    assert "mixed groups take about" in shown
    assert "A response to sum-0-0 (accuracy" in shown


def test_without_sampling(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", *flags, "--no-sample", "--shown", "0"])
    shown = capsys.readouterr().out
    assert "left out, as --no-sample says" in shown
    assert "|" not in shown


def test_a_response_that_does_not_fit_stops_the_run(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", *flags, "--data.sampling.max_response_tokens=5000"])
    assert ended.value.code == 1
    shown = capsys.readouterr().out
    assert "stop  Expected prompt and response to fit into the model's context" in shown
    assert "left out, as the run would not get so far" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--problems", "0"], "Expected --problems to be at least 1"),
        (["--gold-form", "<answer>"], "Expected --gold-form to say where the answer goes"),
        (["--data.gruop_size=4"], "Did you mean data.group_size?"),
        (["--data.minibatch_groups=3"], "4 = 1 * 3 + 1"),
        (["--model.model=./gone"], "Expected a model's folder at ./gone"),
    ],
)
def test_one_message_where_a_setting_is_wrong(
    words: list[str], message: str, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", *flags, *words])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def own(golds: int = 10, gold_form: str | None = None) -> Namespace:
    return Namespace(golds=golds, gold_form=gold_form)


def prompts(*answers: str) -> list[Prompt]:
    return [Prompt(f"p{place}", "", (1,), answer) for place, answer in enumerate(answers)]


def test_right_answers_in_the_form_that_scores() -> None:
    sets = {"train": prompts("so 6 * 7 = 42\n#### 42", "8"), "held_out": prompts("1")}
    findings, shown = gold_findings(GSM8KReward(), sets, own())
    assert [one.text() for one in findings] == [
        "  ok    train: 2 of 2 right answers score 1 (2 as ...)",
        "  ok    held_out: 1 of 1 right answers score 1 (1 as ...)",
    ]
    assert shown == []


def test_right_answers_that_do_not_score_are_shown() -> None:
    # What is behind the last "#" is "b", and never "a#b".
    findings, shown = gold_findings(ExactMatchReward(), {"train": prompts("1", "a#b", "2")}, own())
    assert findings[0].text() == "  look  train: 2 of 3 right answers score 1 (2 as #### ...)"
    assert shown == ["    | train p1: 'a#b'"]


def test_no_right_answer_scores() -> None:
    sets = {"train": prompts("a#b")}
    findings, _ = gold_findings(ExactMatchReward(), sets, own())
    assert findings[0].verdict == "look"
    assert "Set --gold-form" in findings[0].words
    findings, _ = gold_findings(ExactMatchReward(), sets, own(gold_form="the answer is {answer}"))
    assert findings[0].verdict == "stop"


class Settings(Namespace):
    group_size = 2
    train_groups = 8
    sampling = Namespace(max_response_tokens=50)


def results(*correct: int, truncated: int = 0) -> list[ProblemResult]:
    return [ProblemResult("a", "", "", 4, right, None, 10.0, truncated) for right in correct]


def test_the_share_of_mixed_groups_by_hand() -> None:
    # Two of four right: pairs are mixed in 4 of 6 cases, a group of four always. One right: 3 of 6, and always.
    findings, _ = sample_findings(Sampled(results(0, 1, 2, 4), None, 2.0), Settings(), 100)
    words = [one.text() for one in findings]
    assert words[0].startswith("  ok    4 prompts x 4 responses: accuracy 0.438; 1 prompts all wrong, 1 all right")
    assert "80 tokens/s" in words[0]
    # (4/6 + 3/6) / 4 = 29%; (1 + 1) / 4 = 50%.
    assert words[2].startswith("  ok    expected mixed groups")
    assert words[2].endswith("29% at group_size=2, 50% at 4")
    # 8 / 0.2917 = 27.4
    assert "take about 27 prompts of 100 per iteration" in words[3]


def test_few_mixed_groups_few_prompts_and_cut_responses_want_a_look() -> None:
    findings, _ = sample_findings(Sampled(results(0, 0, 0, 1, truncated=1), None, 2.0), Settings(), 10)
    # (3/6) / 4 = 12.5%: 64 prompts, and there are 10.
    assert [one.verdict for one in findings] == ["ok", "ok", "look", "look", "look"]
    findings, _ = sample_findings(Sampled(results(0, 4), None, 2.0), Settings(), 10)
    assert [one.verdict for one in findings] == ["ok", "ok", "stop", "ok"]


def test_the_last_line() -> None:
    assert verdict_of(["ok", "ok"]) == "ok: all 2 lines."
    assert verdict_of(["ok", "look"]) == "look: 1 of 2 lines want a look."
    assert verdict_of(["stop", "look"]) == "stop: 1 of 2 lines would stop or waste the run."


def shape(**settings: Any) -> Shape:
    sizes = {
        "parameters": 1000, "layers": 3, "hidden": 8, "intermediate": 20, "vocabulary": 50, "rows": 2, "length": 5,
        "chunk": 4,
    }  # fmt: skip
    return Shape(**{**sizes, **settings})


def test_memory_by_hand() -> None:
    # 16 bytes per parameter; 10 tokens x (80 + 80) numbers x 4 bytes x 3 layers; 4 tokens x 50 x 4 bytes x 3.
    assert (shape().state, shape().activations, shape().logits) == (16_000, 19_200, 2400)
    # One layer, and a row of 8 numbers per layer and token.
    assert shape(checkpointing=True).activations == 6400 + 3 * 10 * 8 * 4
    assert shape(bytes=2).activations == 9600
    assert shape(weight_bytes=2).state == 8000


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_the_estimate_of_layers_is_near_what_is_kept(kind: str) -> None:
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(
        kind, hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, vocab_size=50, max_position_embeddings=256,
    )  # fmt: skip
    model = AutoModel.from_config(config)
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(input_ids=torch.ones(4, 128, dtype=torch.long), use_cache=False).last_hidden_state
    assert output.requires_grad
    estimate = shape(layers=4, hidden=128, intermediate=512, rows=4, length=128).activations
    # 1.02, as this is written.
    assert 0.9 < sum(kept.values()) / estimate < 1.15
