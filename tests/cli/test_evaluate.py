"""`lspo evaluate`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lspo.cli.evaluation_data import KNOWN, REWARDS
from lspo.cli.evaluation_result import as_text, over_problems, result_of
from lspo.cli.main import main
from lspo.lightning_modules.callbacks.problem_results import ProblemResult

SHORT = [
    "--config", "quickstart", "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1",
    "--trainer.enable_progress_bar=false", "--model.model.init_args.max_steps=40",
    "--data.val.held_out.init_args.size=16", "--data.train_groups=8", "--data.minibatch_groups=4",
    "--data.rounds.min_pool=8",
]  # fmt: skip


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.filterwarnings("ignore:The supervised start ended after 40 steps")
def test_what_a_run_has_written_answers_as_it_did_in_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["fit", *SHORT])
    run = tmp_path / "runs/quickstart/version_0"
    expected = rows(run / "evaluation/val_held_out_iteration_000001.jsonl")
    average = sum(row["accuracy"] for row in expected) / len(expected)
    capsys.readouterr()
    for model in ("pretrained/iteration_000001", "checkpoints/last.ckpt"):
        main(["evaluate", str(run / model), "--data", "running_sum", "--limit", "16", "--k", "4", "--out", "out"])
        printed = capsys.readouterr().out
        assert "running_sum: 16 problems, 4 responses each, temperature 1, at most 24 tokens" in printed
        assert f"avg@4            {average:.3f}" in printed
        found = rows(tmp_path / "out/validate_running_sum.jsonl")
        assert [row["response"] for row in found] == [row["response"] for row in expected]
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["metrics"]["avg@4"]["value"] == average
    assert result["metrics"]["avg@4"]["low"] <= average <= result["metrics"]["avg@4"]["high"]
    problems = rows(tmp_path / "out/problems.jsonl")
    assert [row["correct"] for row in problems] == [
        sum(row["accuracy"] for row in expected[place : place + 4]) for place in range(0, 64, 4)
    ]


def test_a_file_of_problems(policy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.v1.jsonl"
    file.write_text('{"q": "37..............=", "a": 0}\n{"q": "11..............=", "a": 2}\n')
    words = ["--prompt-column", "q", "--answer-column", "a", "--reward", "exact", "--max-response-tokens", "5"]
    main(["evaluate", str(policy_folder), "--data", str(file), *words, "--k", "2", "--pass-at", "1", "2"])
    printed = capsys.readouterr().out
    assert "mine_v1: 2 problems, 2 responses each, temperature 1, at most 5 tokens" in printed
    assert "pass@1" in printed
    assert "pass@2" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["./gone", "--data", "running_sum"], "Expected a model's folder at ./gone"),
        (["gone.ckpt", "--data", "running_sum"], "Expected a checkpoint at gone.ckpt"),
        (["bare.ckpt", "--data", "running_sum"], "may be bare weights"),
        (["old.ckpt", "--data", "running_sum"], "Set --base-model."),
        (["parts.ckpt", "--data", "running_sum"], "Type: lspo export parts.ckpt FOLDER"),
        (["POLICY", "--data", "runing_sum"], "Did you mean running_sum?"),
        (["POLICY", "--data", "gone.jsonl"], "Expected a file of problems at gone.jsonl"),
        (["POLICY", "--data", "running_sum", "--path", "x.jsonl"], "Expected --path with the name of a published set"),
        (["POLICY", "--data", "gsm8k", "--path", "gone.jsonl"], "gone.jsonl"),
        (["POLICY", "--data", "running_sum", "--base-model", "x"], "Expected --base-model with a checkpoint's file"),
        (["POLICY", "--data", "running_sum", "--k", "0"], "Expected --k to be at least 1"),
        (["POLICY", "--data", "running_sum", "--temperature", "0"], "Set --k 1"),
        (["POLICY", "--data", "running_sum", "--pass-at", "5"], "Expected --pass-at between 1 and --k 4"),
        (["POLICY"], "required: --data"),
    ],
)
def test_one_message_where_something_is_wrong(
    words: list[str], message: str, policy_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {}}, tmp_path / "bare.ckpt")
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.6"}, tmp_path / "old.ckpt")
    (tmp_path / "parts.ckpt").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *(str(policy_folder) if word == "POLICY" else word for word in words)])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_every_name_is_a_set_with_a_reward() -> None:
    import lspo.problems
    import lspo.rewards

    for known in KNOWN.values():
        assert getattr(lspo.problems, known.kind)(**known.settings)
        assert hasattr(lspo.rewards, REWARDS[known.reward])


def test_numbers_by_hand() -> None:
    # 4 responses each: 2, 0 and 4 right.
    found = [
        ProblemResult("a", "", "", 4, 2, 1.0, 10.0, 0),
        ProblemResult("b", "", "", 4, 0, None, 20.0, 4),
        ProblemResult("c", "", "", 4, 4, 1.0, 30.0, 0),
    ]
    settings = {"k": 4, "temperature": 0.7, "max_response_tokens": 30}
    result = result_of("mine", settings, found, [4, 2])
    values = {metric: value for metric, (value, _) in result.metrics.items()}
    # pass@2: 1 - C(2,2)/C(4,2) = 5/6, 0, 1.
    assert values == pytest.approx({"avg@4": 0.5, "pass@2": (5 / 6 + 1) / 3, "pass@4": 2 / 3, "maj@4": 2 / 3})
    text = as_text(result)
    assert "response tokens  20.0, 33.3% cut" in text
    assert "95% interval over problems (Student's t)" in text
    assert "raise --max-response-tokens" in text


def test_problems_that_are_all_alike() -> None:
    assert over_problems([0.0] * 100).high == pytest.approx(1 - 0.025 ** (1 / 100))  # type: ignore[union-attr]
    assert over_problems([1.0]) is None
    assert over_problems([0.5] * 20).how == "bootstrap"  # type: ignore[union-attr]


@pytest.fixture
def chat_policy(tmp_path: Path) -> Path:
    from lspo.models.tokenizers import trained_tokenizer
    from lspo.testing import tiny_model

    tokenizer = trained_tokenizer(["How many? #### 3"] * 3, vocabulary_size=280)
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}[/]{% endfor %}[assistant]"
    folder = tmp_path / "chat_policy"
    tiny_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("words", "prompt"),
    [
        ([], "[user]How many?\nLet's think step by step and output the final answer within \\boxed{}.[/][assistant]"),
        (["--instruction", "", "--chat", "no"], "How many?"),
        (["--instruction", "Think.", "--chat", "yes"], "[user]How many?\nThink.[/][assistant]"),
    ],
)
def test_a_published_set_is_asked_as_a_chat_with_the_instruction(
    words: list[str], prompt: str, chat_policy: Path, tmp_path: Path
) -> None:
    (tmp_path / "test.jsonl").write_text(
        '{"question": "How many?", "answer": "1 + 2 = 3\\n#### 3"}\n{"question": "And now?", "answer": "#### 4"}\n'
    )
    flags = ["--path", "test.jsonl", "--k", "2", "--limit", "1", "--max-response-tokens", "4", "--out", "out"]
    main(["evaluate", str(chat_policy), "--data", "gsm8k", *flags, *words])
    found = rows(tmp_path / "out/validate_gsm8k.jsonl")
    assert [row["prompt"] for row in found] == [prompt, prompt]
    assert json.loads((tmp_path / "out/result.json").read_text())["settings"]["reward"] == "GSM8KReward"


def test_a_tokenizer_without_a_template_is_asked_in_plain_text(policy_folder: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(policy_folder), "--data", "gsm8k", "--path", "gone.jsonl", "--chat", "yes"])
    assert ended.value.code == 2
