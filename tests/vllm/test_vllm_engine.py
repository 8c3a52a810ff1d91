"""VLLMEngine with a real vLLM, each case in processes of its own."""

from __future__ import annotations

import pytest

from lspo.models.tokenizers import character_tokenizer
from lspo.tasks.running_sum import ALPHABET
from lspo.testing import tiny_model

pytestmark = pytest.mark.vllm


@pytest.mark.parametrize(
    ("kind", "tied", "processes", "tensor_parallel"),
    [
        ("qwen2", True, 1, 1),
        ("qwen2", False, 1, 1),
        ("llama", True, 1, 1),
        ("llama", False, 1, 1),
        ("qwen2", True, 2, 1),
        ("qwen2", True, 2, 2),
    ],
)
def test_parity_through_syncs(make_policy, run_script, kind, tied, processes, tensor_parallel):
    folder = make_policy(kind, tied=tied)
    for result in run_script("in_process.py", str(folder), str(tensor_parallel), processes=processes):
        print(result)
        # Greedily, token by token, before a sync and after each of 20.
        assert result["parity"] == [True] * 21
        assert result["weights_moved_greedy"], "the test would pass with stale weights"
        assert result["gap"] < 1e-4
        assert result["probe_gap"] < 1e-4
        assert result["compared"] > 0
        print(f"{kind}, {tensor_parallel}: {result['compared']} weights compared, {result['not_compared']} not")
        assert "differ from the trainer's by" in result["stale_noticed"]
        assert ("differ from the trainer's by" in result["headless_noticed"]) == tied
        assert result["restricted_gap"] < 1e-4
        assert result["several_end_tokens"]
        assert result["uneven"]
        # As they finish, and not when all are done; what is left early leaves nothing behind.
        assert result["steps_until_groups"][0] < result["steps_until_groups"][-1]
        assert result["same_piecemeal"]
        assert result["overlaps"]
        assert result["in_flight"] == 0
        assert result["repeats"]
        assert result["repeats_anew"]
        assert result["distinct"]
        assert result["process_unchanged"]
        assert result["group_alive"] == (processes > 1)
        assert set(result["versions"]) == {20}


def test_a_cut_policy_is_sent_whole(tmp_path, run_script):
    """FSDP1 takes back a layer's weights when the next one's are gathered; vLLM keeps a padded one's to the end."""
    tokenizer = character_tokenizer(ALPHABET)
    folder = tmp_path / "running_sum"
    heads = {"hidden_size": 128, "intermediate_size": 128, "num_attention_heads": 4}
    tiny_model(tokenizer, **heads, initializer_range=0.1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (alone,) = run_script("sharded.py", str(folder))
    for result in run_script("sharded.py", str(folder), processes=2):
        assert result["chosen"] == alone["chosen"]
        assert len(result["gaps"]) == 2
        assert max(result["gaps"]) < 1e-4
        assert result["evaluated"] == pytest.approx(alone["evaluated"])
