"""From groups to micro-batches: sizes that divide, rollouts dealt once each, limits, passes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lspo.batching.deal import BatchLayout, deal, in_passes
from lspo.batching.dealing import spread
from lspo.objectives.advantages import Baseline, Scale, group_advantages
from lspo.testing import hashed
from lspo.types import Prompt, Rollout, RolloutBatch, RolloutGroup, Score

PAD = 0


def group(number: int, lengths: list[int], *, prompt_tokens: int = 2, version: int = 0) -> RolloutGroup:
    """Its responses are told apart by their tokens: 1000 * number + place in the group."""
    prompt = Prompt(f"p{number}", "", tuple(range(1, prompt_tokens + 1)), "")
    rollouts = tuple(
        Rollout((1000 * (number + 1) + place,) * length, (-1.0,) * length, False, "", Score.of(float(place % 2)))
        for place, length in enumerate(lengths)
    )
    return RolloutGroup(prompt, number, version, rollouts)


def groups_of(count: int, group_size: int = 4, longest: int = 30) -> list[RolloutGroup]:
    return [
        group(
            number, [1 + hashed(number, place) % longest for place in range(group_size)], prompt_tokens=1 + number % 3
        )
        for number in range(count)
    ]


def all_ranks(groups: list[RolloutGroup], layout: BatchLayout) -> list[list[RolloutBatch]]:
    """Micro-batches of each mini-batch, those of all ranks."""
    parts = [
        deal(groups, layout, rank=rank, pad_token_id=PAD, temperature=0.7) for rank in range(layout.data_parallel_size)
    ]
    return [[batch for part in parts for batch in part[place]] for place in range(layout.num_minibatches)]


def names(batch: RolloutBatch) -> list[int]:
    return [int(row[length]) for row, length in zip(batch.token_ids, batch.prompt_lengths, strict=True)]


def test_the_arithmetic_of_a_layout() -> None:
    layout = BatchLayout(train_groups=512, minibatch_groups=32, passes=2, accumulate=4, data_parallel_size=8)
    assert layout.num_minibatches == 16
    assert layout.optimizer_steps == 32
    assert layout.num_batches == 128
    assert layout.bins == 32


@pytest.mark.parametrize("name", ["train_groups", "minibatch_groups", "passes", "accumulate", "data_parallel_size"])
def test_a_size_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"Expected `{name}` to be at least 1, but got 0"):
        BatchLayout(**{"train_groups": 4, "minibatch_groups": 2, name: 0})


def test_sizes_that_do_not_divide_are_refused_with_the_arithmetic() -> None:
    message = "to be a multiple of `minibatch_groups`, but got 100 = 3 * 32 + 4."
    with pytest.raises(ValueError, match=re.escape(message)):
        BatchLayout(train_groups=100, minibatch_groups=32)


@settings(max_examples=40, deadline=None)
@given(
    minibatches=st.integers(1, 3),
    minibatch_groups=st.integers(1, 3),
    accumulate=st.integers(1, 2),
    ranks=st.integers(1, 2),
    missing=st.integers(0, 2),
)
def test_every_rollout_is_in_exactly_one_bin(
    minibatches: int, minibatch_groups: int, accumulate: int, ranks: int, missing: int
) -> None:
    layout = BatchLayout(
        minibatches * minibatch_groups, minibatch_groups, accumulate=accumulate, data_parallel_size=ranks
    )
    groups = groups_of(max(minibatches, layout.train_groups - missing))
    dealt = all_ranks(groups, layout)

    assert len(dealt) == minibatches
    advantages = group_advantages(torch.tensor([[s.reward for s in g.scores] for g in groups], dtype=torch.float64))
    for places, batches in zip(spread(len(groups), minibatches), dealt, strict=True):
        assert len(batches) == accumulate * ranks
        assert all(len(batch) > 0 for batch in batches)
        members = [groups[place] for place in places]
        expected = [rollout.token_ids[0] for member in members for rollout in member.rollouts]
        assert sorted(name for batch in batches for name in names(batch)) == sorted(expected)
        # Counts are those of the whole mini-batch, on all ranks.
        assert {batch.num_tokens for batch in batches} == {sum(member.num_tokens for member in members)}
        assert sum(int(batch.response_mask.sum()) for batch in batches) == batches[0].num_tokens
        assert {batch.num_sequences for batch in batches} == {len(expected)}
        for batch in batches:
            assert batch.temperature == 0.7
            for name, advantage in zip(names(batch), batch.advantages.tolist(), strict=True):
                assert advantage == pytest.approx(float(advantages[name // 1000 - 1, name % 1000]))


def test_ranks_have_rollouts_of_like_length_at_a_time() -> None:
    """In lockstep, as under FSDP, a step takes as long as its longest micro-batch."""
    layout = BatchLayout(12, 12, accumulate=3, data_parallel_size=2)
    first, second = (deal(groups_of(12), layout, rank=rank, pad_token_id=PAD, temperature=1.0)[0] for rank in (0, 1))
    widths = [[batch.token_ids.shape[1] for batch in batches] for batches in (first, second)]
    in_turn = [width for pair in zip(*widths, strict=True) for width in pair]
    assert in_turn == sorted(in_turn, reverse=True)
    assert len(set(in_turn)) > 3


def test_each_rollout_keeps_the_temperature_it_was_sampled_at() -> None:
    groups = [
        replace(group, temperature=heat)
        for group, heat in zip(groups_of(4, longest=3), (1.0, 0.5, 0.5, None), strict=True)
    ]
    [first], [second] = all_ranks(groups, BatchLayout(train_groups=4, minibatch_groups=2))
    # By group: the names say which.
    assert {name // 1000: heat for name, heat in zip(names(first), first.temperature.tolist(), strict=True)} == {
        1: 1.0,
        2: 0.5,
    }
    # Of a group without one it is the iteration's, 0.7.
    assert {name // 1000: heat for name, heat in zip(names(second), second.temperature.tolist(), strict=True)} == {
        3: 0.5,
        4: 0.7,
    }
    [alike], _ = all_ranks([groups[1], *groups[1:]], BatchLayout(train_groups=4, minibatch_groups=2))
    assert alike.temperature == 0.5
    moved = RolloutBatch.from_state_dict(second.to("cpu").state_dict())
    assert torch.equal(moved.temperature, second.temperature)


def test_fewer_groups_than_planned_make_as_many_minibatches() -> None:
    layout = BatchLayout(train_groups=8, minibatch_groups=2)
    dealt = all_ranks(groups_of(5), layout)
    assert [sum(len(batch) for batch in batches) // 4 for batches in dealt] == [2, 1, 1, 1]


def test_fewer_groups_than_minibatches_are_refused() -> None:
    layout = BatchLayout(train_groups=8, minibatch_groups=2)
    message = "at least one group for each of the 4 mini-batches of an iteration, but only 3 of 8 were kept"
    with pytest.raises(RuntimeError, match=message):
        all_ranks(groups_of(3), layout)


def test_fewer_rollouts_than_bins_are_refused() -> None:
    layout = BatchLayout(train_groups=1, minibatch_groups=1, accumulate=5)
    with pytest.raises(ValueError, match="at least one rollout for each of 5 micro-batches, but got 4 rollouts"):
        all_ranks(groups_of(1), layout)


def test_responses_without_a_token_are_no_sequences() -> None:
    """As the objective counts: those with at least one True in their mask."""
    dealt = all_ranks([group(0, [3, 0, 2, 1])], BatchLayout(train_groups=1, minibatch_groups=1))
    assert dealt[0][0].num_sequences == 3
    assert dealt[0][0].num_tokens == 6


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
def test_advantages_are_scaled_over_the_whole_iteration(scale: Scale, baseline: Baseline) -> None:
    """Of "batch" the deviation is that of all groups given, on all ranks, and not of a mini-batch or a micro-batch."""
    groups = groups_of(4)
    right = {0: 1, 1: 3, 2: 2, 3: 1}  # responses of each group, so that no mini-batch is like the whole
    groups = [
        replace(g, rollouts=tuple(replace(r, score=Score.of(float(i < right[n]))) for i, r in enumerate(g.rollouts)))
        for n, g in enumerate(groups)
    ]
    rewards = torch.tensor([[s.reward for s in g.scores] for g in groups], dtype=torch.float64)
    expected = group_advantages(rewards, baseline=baseline, scale=scale)
    layout = BatchLayout(4, 2, accumulate=2, data_parallel_size=2, baseline=baseline, scale=scale)
    seen = 0
    for batch in (batch for batches in all_ranks(groups, layout) for batch in batches):
        for name, advantage in zip(names(batch), batch.advantages.tolist(), strict=True):
            assert advantage == pytest.approx(float(expected[name // 1000 - 1, name % 1000]))
            seen += 1
    assert seen == 16


def cut(group: RolloutGroup, *places: int) -> RolloutGroup:
    """The group, with the responses in these places truncated."""
    rollouts = tuple(replace(r, truncated=place in places) for place, r in enumerate(group.rollouts))
    return replace(group, rollouts=rollouts)


@pytest.mark.parametrize("ranks", [1, 2])
def test_truncated_responses_are_dealt_but_not_counted(ranks: int) -> None:
    """Lengths 3 5 | 4 9 2 7, of which 5 and 9 are cut: 16 tokens of 4 responses count, and advantages are as before."""
    groups = [cut(group(0, [3, 5]), 1), cut(group(1, [4, 9]), 1), group(2, [2, 7])]

    def dealt(mask_truncated: bool) -> list[RolloutBatch]:
        layout = BatchLayout(3, 3, accumulate=2, data_parallel_size=ranks, mask_truncated=mask_truncated)
        return all_ranks(groups, layout)[0]

    masked, plain = dealt(True), dealt(False)
    assert {(batch.num_tokens, batch.num_sequences) for batch in masked} == {(16, 4)}
    assert {(batch.num_tokens, batch.num_sequences) for batch in plain} == {(30, 6)}
    for mine, its in zip(masked, plain, strict=True):
        assert torch.equal(mine.token_ids, its.token_ids)
        assert torch.equal(mine.advantages, its.advantages)
        left_out = torch.tensor([name in (1001, 2001) for name in names(mine)])
        assert torch.equal(mine.response_mask, its.response_mask & ~left_out[:, None])
    assert sum(int(batch.response_mask.sum()) for batch in masked) == 16


def test_a_minibatch_of_truncated_responses_alone_counts_nothing() -> None:
    layout = BatchLayout(2, 1, mask_truncated=True)
    first, second = all_ranks([cut(group(0, [3, 5]), 0, 1), group(1, [2, 2])], layout)
    assert (first[0].num_tokens, first[0].num_sequences) == (0, 0)
    assert len(first[0]) == 2
    assert not first[0].response_mask.any()
    assert (second[0].num_tokens, second[0].num_sequences) == (4, 2)


def test_the_version_is_that_of_the_oldest() -> None:
    groups = [group(0, [2, 2], version=3), group(1, [2, 2], version=2)]
    dealt = all_ranks(groups, BatchLayout(train_groups=2, minibatch_groups=2))
    assert dealt[0][0].version == 2


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("wanted", [2, 4])
def test_the_limit_names_the_number_of_micro_batches_that_fits(ranks: int, wanted: int) -> None:
    groups = groups_of(6)

    def largest(accumulate: int) -> int:
        free = BatchLayout(6, 6, accumulate=accumulate, data_parallel_size=ranks)
        # Padding included: these are rectangles of prompt and response.
        return max(batch.token_ids.numel() for batch in all_ranks(groups, free)[0])

    limit = largest(wanted)
    layout = BatchLayout(6, 6, accumulate=1, data_parallel_size=ranks, max_micro_batch_tokens=limit)
    with pytest.raises(ValueError, match=r"`accumulate_grad_batches=\d+` fits this mini-batch") as caught:
        all_ranks(groups, layout)
    assert f"at most batches.max_micro_batch_tokens={limit} tokens, padding included" in str(caught.value)
    found = re.search(r"accumulate_grad_batches=(\d+)", str(caught.value))
    assert found is not None
    fitting = int(found[1])
    assert largest(fitting) <= limit
    assert all(largest(fewer) > limit for fewer in range(1, fitting))
    assert f"the largest of {ranks} has {largest(1)}" in str(caught.value)
    all_ranks(groups, BatchLayout(6, 6, accumulate=fitting, data_parallel_size=ranks, max_micro_batch_tokens=limit))


def test_a_limit_below_the_longest_rollout_says_so() -> None:
    layout = BatchLayout(1, 1, max_micro_batch_tokens=10)
    message = "No `accumulate_grad_batches` fits: at best the largest has 12, and the longest rollout alone 12"
    with pytest.raises(ValueError, match=message):
        all_ranks([group(0, [10, 3, 3, 3])], layout)


def test_a_limit_that_only_odd_rollouts_break_says_what_is_reached() -> None:
    """Three rollouts of 6 tokens over two ranks: one bin has two, and more micro-batches cannot be."""
    layout = BatchLayout(1, 1, data_parallel_size=2, max_micro_batch_tokens=10)
    with pytest.raises(ValueError, match="at best the largest has 12, and the longest rollout alone 6"):
        all_ranks([group(0, [4, 4, 4])], layout)


def test_passes() -> None:
    minibatches = all_ranks(groups_of(6), BatchLayout(train_groups=6, minibatch_groups=1, accumulate=2))
    labels = {
        id(batch): f"{place}{'ab'[part]}" for place, bins in enumerate(minibatches) for part, batch in enumerate(bins)
    }

    def passes(number: int, seed: int) -> list[str]:
        return [labels[id(batch)] for batch in in_passes(minibatches, number, seed=seed)]

    once = [f"{place}{part}" for place in range(6) for part in "ab"]
    assert passes(1, seed=0) == once
    ordered = passes(3, seed=0)
    assert ordered[:12] == once
    later = [ordered[12:24], ordered[24:]]
    for one in later:
        assert sorted(one) == once
        assert one != once
        # The micro-batches of an optimizer step stay together, in their order.
        assert all(one[place][0] == one[place + 1][0] and one[place] < one[place + 1] for place in range(0, 12, 2))
    assert later[0] != later[1]
    assert passes(3, seed=0) == ordered
    assert passes(3, seed=1) != ordered


def test_counts_leave_out_tokens_without_a_finite_logprob() -> None:
    groups = [group(0, [3, 2]), group(1, [4, 1])]
    nothing = replace(groups[0].rollouts[1], logprobs=(float("nan"),) * 2)
    groups[0] = replace(groups[0], rollouts=(groups[0].rollouts[0], nothing))
    layout = BatchLayout(train_groups=2, minibatch_groups=2, accumulate=2)
    for batch in all_ranks(groups, layout)[0]:
        assert (batch.num_tokens, batch.num_sequences) == (3 + 4 + 1, 3)


def test_the_limit_may_want_a_micro_batch_for_each_rollout() -> None:
    groups = [group(0, [2, 2]), group(1, [2, 2])]
    alone = all_ranks(groups, BatchLayout(2, 2, accumulate=4))[0][0].token_ids.numel()
    with pytest.raises(ValueError, match=r"`accumulate_grad_batches=4` fits this mini-batch"):
        all_ranks(groups, BatchLayout(2, 2, max_micro_batch_tokens=alone))
