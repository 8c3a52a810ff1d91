"""Runs of several ranks with one `vllm serve`, and of one with two."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lspo.models.tokenizers import character_tokenizer
from lspo.tasks.running_sum import ALPHABET
from lspo.testing import tiny_model

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("running_sum")
    tokenizer = character_tokenizer(ALPHABET)
    heads = {"hidden_size": 128, "intermediate_size": 128, "num_attention_heads": 4}
    tiny_model(tokenizer, **heads, initializer_range=0.1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(policy_folder: Path, make_server: Callable[..., Any]) -> Iterator[Any]:
    server = make_server(policy_folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def alone(served: Any, policy_folder: Path, run_script_in: Callable[..., Any], tmp_path_factory: Any) -> Any:
    (result,) = run_script_in(
        tmp_path_factory.mktemp("alone"), "served.py", str(policy_folder), served.url, "path", "auto"
    )
    assert result["sent"] == 4  # two iterations, and an evaluation after each
    return result


def check(result: dict[str, Any], alone: dict[str, Any]) -> None:
    assert len(result["gaps"]) == 2
    assert max(result["gaps"]) < 1e-4
    assert result["chosen"] == alone["chosen"]
    assert result["evaluated"] == pytest.approx(alone["evaluated"])


@pytest.mark.parametrize(("strategy", "transfer"), [("ddp", "bytes"), ("fsdp2", "path")])
def test_rank_0_sends_and_all_write(served, alone, policy_folder, run_script, strategy, transfer):
    first, second = run_script(
        "served.py", str(policy_folder), served.url, transfer, strategy, processes=2, timeout=400
    )
    for result in (first, second):
        check(result, alone)
    assert (first["sent"], second["sent"]) == (alone["sent"], 0)


def test_a_restart_amid_a_round_is_seen_by_both_and_changes_nothing(served, alone, policy_folder, run_script, tmp_path):
    done = threading.Event()

    def restart() -> None:
        while not all((tmp_path / f"amid-{rank}").exists() for rank in range(2)):
            if done.wait(0.01):
                return
        served.stop()
        time.sleep(1)
        served.start()

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        first, second = run_script(
            "served.py", str(policy_folder), served.url, "bytes", "fsdp2", processes=2, timeout=400
        )
    finally:
        done.set()
        thread.join()
    for result in (first, second):
        check(result, alone)
        assert result["interruptions"] >= 1
    assert (first["sent"], second["sent"]) == (alone["sent"] + 1, 0)


def test_two_servers_share_the_prompts(served, alone, policy_folder, run_script, make_server):
    other = make_server(policy_folder)
    (result,) = run_script("served.py", str(policy_folder), f"{served.url},{other.url}", "path", "auto")
    other.stop()
    check(result, alone)
    assert result["sent"] == 2 * alone["sent"]
