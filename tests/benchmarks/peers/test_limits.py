from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

Peers = Callable[[str], ModuleType]
PROMPTS = [[5, 6, 7], [8, 9], [5, 11, 4, 7]]


@pytest.fixture
def model(peers: Peers) -> Any:
    workload = peers("workloads").Workload("tiny", 32, 2, 3, 12, True, ks=(1,), micros=(4,), group_size=4)
    make = peers("make_model")
    return make.make_model(workload, make.make_tokenizer()).double().train()


def written(peers: Peers, model: Any, end: int) -> Any:
    decoder = peers("decoder").Decoder(model)
    generator = torch.Generator().manual_seed(0)
    return decoder.write(PROMPTS, group_size=4, limit=12, end=end, generator=generator)


def groups(peers: Peers) -> list[Any]:
    """Responses of unlike lengths, a single token among them."""
    lengths = iter([1, 9, 4, 4, 2, 12, 7, 3, 5, 1, 1, 6])
    return [
        peers("packing").Group(prompt, [[(3 * n + 7) % 90 for n in range(next(lengths))] for _ in range(4)], weights)
        for prompt, weights in zip(PROMPTS, ([0.5, -1.0, 0.25, 0.25], [1.0, -1.0, 0.0, 2.0], [0.1] * 4), strict=True)
    ]


def test_the_decoder_samples_with_the_models_log_probs(peers: Peers, model: Any) -> None:
    model.float()
    # A token that is often drawn, so that rows are taken out early.
    end = max(range(99), key=lambda token: sum(row.count(token) for row in written(peers, model, -1).token_ids))
    found = written(peers, model, end)
    lengths = [len(row) for row in found.token_ids]
    assert min(lengths) < max(lengths) == 12
    assert all(end not in row[:-1] for row in found.token_ids)
    assert all(len(row) == 12 or row[-1] == end for row in found.token_ids)
    assert peers("limits").check_decoder(model, PROMPTS, found, 4) < 1e-5


def test_the_check_of_the_decoder_can_fail(peers: Peers, model: Any) -> None:
    model.float()
    found = written(peers, model, -1)
    found.logprobs[3][2] += 0.01
    with pytest.raises(SystemExit, match="log-probs"):
        peers("limits").check_decoder(model, PROMPTS, found, 4)


def test_all_ways_have_one_gradient(peers: Peers, model: Any) -> None:
    # No finer, as the model's norms are computed in float32 whatever its type.
    assert peers("limits").check_gradients(model, groups(peers)) < 1e-6


def test_the_check_of_gradients_can_fail(peers: Peers, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = peers("limits")
    monkeypatch.setitem(limits.WAYS, "all but one", (lambda model, g, k: limits.sorted_bins(model, g[1:], k), (1,)))
    with pytest.raises(SystemExit, match="same gradient"):
        limits.check_gradients(model, groups(peers))


@pytest.mark.parametrize("shared", [False, True])
def test_a_packed_row_has_real_tokens_alone(peers: Peers, shared: bool) -> None:
    packed = peers("packing").pack_groups(groups(peers), shared=shared, buckets=3)
    responses, prompts = 55, sum(map(len, PROMPTS))
    assert len(packed.token_ids) == responses + prompts * (1 if shared else 4)
    assert len(packed.targets) == responses
    assert sorted(packed.order.tolist()) == list(range(len(packed.token_ids)))


def test_runs_of_like_length_have_the_least_greatest_padded_size(peers: Peers) -> None:
    like_length = peers("packing").like_length
    # [2, 1] is 2 x 3 and [9] alone 9; [2, 1, 9] would be 3 x 9.
    assert like_length([9, 3, 1], 2) == [[2, 1], [0]]
    assert like_length([5, 5, 5, 5], 2) == [[0, 1], [2, 3]]
    assert like_length([1, 2, 3], 1) == [[0, 1, 2]]


def test_balanced_bins_hold_everything_once(peers: Peers) -> None:
    assert peers("packing").balanced([5, 1, 4, 2], 2) == [[0, 1], [2, 3]]
    assert peers("packing").balanced([3], 2) == [[0]]
