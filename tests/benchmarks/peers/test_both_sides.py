from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Peers = Callable[[str], ModuleType]
PEERS = Path(__file__).parents[3] / "benchmarks/peers"


def test_both_sides_take_their_work_from_one_file(peers: Peers) -> None:
    workloads, ours, theirs = peers("workloads"), peers("ours"), peers("theirs")
    for shared in ("WORKLOADS", "WARM_UP_STEPS", "questions", "coin"):
        assert getattr(ours, shared) is getattr(theirs, shared) is getattr(workloads, shared)


def test_both_sides_are_set_to_the_same_step(peers: Peers) -> None:
    ours, theirs = peers("ours"), peers("theirs")
    for workload in peers("workloads").WORKLOADS.values():
        for k in workload.ks:
            given = ours.settings(workload, k, turn=0)
            assert given["data"]["train_groups"] == given["data"]["minibatch_groups"] == workload.num_prompts
            assert given["trainer"]["accumulate_grad_batches"] == k <= workload.num_responses
            assert given["engine"]["max_batch_responses"] == workload.num_responses
        for micro in workload.micros:
            config = theirs.settings(workload, micro, steps=3, turn=0)
            batch = config["per_device_train_batch_size"] * config["gradient_accumulation_steps"]
            assert batch == workload.num_responses == workload.num_prompts * config["num_generations"]
            assert config["max_completion_length"] == given["sampling"]["max_response_tokens"]
            assert config["max_grad_norm"] == given["trainer"]["gradient_clip_val"]


def test_neither_side_knows_the_other_environment(peers: Peers) -> None:
    """The shared pieces are imported where the other's packages are missing."""
    for name in ("workloads", "process"):
        source = (PEERS / f"{name}.py").read_text()
        assert not [word for word in ("lspo", "torch", "trl", "transformers") if f"import {word}" in source]


def test_every_turn_has_every_setting_once_by_turns(peers: Peers) -> None:
    compare = peers("compare")
    found = list(compare.runs("1m-tail", 2, [4, 8], [16, 32, 64], [("a", Path("a")), ("b", Path("b"))]))
    names = [(one.turn, one.label, one.setting) for one in found]
    first = [("a", 4), ("b", 4), ("TRL", 16), ("a", 8), ("b", 8), ("TRL", 32), ("TRL", 64)]
    assert names == [(turn, *one) for turn in (0, 1) for one in first]
    assert [one.checkout for one in found[:3]] == [Path("a"), Path("b"), None]


def test_a_process_of_lspo_sees_its_checkout_alone(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compare = peers("compare")
    seen: list[tuple[Path | None, str | None, str]] = []

    def start(words: list[str], *, cwd: Path | None, env: dict[str, str], **_: object) -> object:
        seen.append((cwd, env.get("PYTHONPATH"), env["OMP_NUM_THREADS"]))
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(compare.subprocess, "run", start)
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    compare.call(["python"], tmp_path)
    compare.call(["python"])
    assert seen == [(tmp_path, str(tmp_path), "1"), (None, None, "1")]
    assert os.environ["PYTHONPATH"] == "elsewhere"


def test_a_process_that_fails_is_shown(peers: Peers) -> None:
    compare = peers("compare")
    with pytest.raises(SystemExit, match=r"(?s)status 3.*no such thing"):
        compare.call(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_checkouts_are_named(peers: Peers, tmp_path: Path) -> None:
    compare = peers("compare")
    for name in ("before", "after", "other/after"):
        (tmp_path / name / "lspo").mkdir(parents=True)
        (tmp_path / name / "lspo/__init__.py").touch()
    before, after = tmp_path / "before", tmp_path / "after"
    assert compare.labels([before]) == [("lspo", before)]
    assert compare.labels([before, after]) == [("before", before), ("after", after)]
    with pytest.raises(SystemExit, match="different names"):
        compare.labels([after, tmp_path / "other/after"])
    with pytest.raises(SystemExit, match=r"no lspo/__init__\.py"):
        compare.labels([tmp_path])


def test_settings_of_a_piece_can_be_overridden(peers: Peers) -> None:
    ours = peers("ours")
    found = ours.settings(peers("workloads").WORKLOADS["1m-tail"], 4, turn=0)
    ours.override(found, ["policy.log_entropy=false", "engine.max_batch_responses=64", "policy.model=a folder"])
    assert found["policy"] == {"log_entropy": False, "model": "a folder"}
    assert found["engine"] == {"max_batch_responses": 64}
    with pytest.raises(SystemExit, match=r"PIECE\.NAME=VALUE"):
        ours.override(found, ["trainer.max_epochs=3"])


def test_a_model_without_ends_has_no_row_for_the_end_token(peers: Peers) -> None:
    make, workloads = peers("make_model"), peers("workloads").WORKLOADS
    tokenizer = make.make_tokenizer()
    end = tokenizer.eos_token_id
    fixed, tail = (make.make_model(workloads[name], tokenizer) for name in ("1m-fixed", "1m-tail"))
    assert fixed.config.vocab_size == end == tail.config.vocab_size - 1
    assert fixed.generation_config.eos_token_id is None
    assert tail.generation_config.eos_token_id == end
    assert tokenizer("12+3=")["input_ids"] != [tokenizer.unk_token_id] * 5
