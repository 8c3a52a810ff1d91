"""GRPO and LSPO in one loop, without Lightning: what `lspo fit` does, on one page.

    python examples/tiny_grpo.py                                     # learns in about a minute on one CPU core
    python examples/tiny_grpo.py --start-steps 60 --iterations 3     # to see it run
    python examples/tiny_grpo.py --selector none --objective grpo    # plain GRPO

The task is the built-in one: to `3719............=` a good response is `3010#0`, running sums and then the answer. The
policy starts from random weights. It first learns from imperfect demonstrations, and then from rewards alone.
"""

from __future__ import annotations

import argparse
import random
from typing import Any

import torch
from torch import Tensor

from lspo.batching import BatchLayout, collate, deal
from lspo.batching.collate import TrainingRollout
from lspo.collecting import CollectPlan, collect
from lspo.models.causal_lm import model_logprobs
from lspo.models.encoding import encode_prompts, encode_texts
from lspo.objectives import DAPO, GRPO, Objective
from lspo.problems import RunningSumProblems
from lspo.problems.demonstrations import RunningSumDemonstrations
from lspo.rewards import ExactMatchReward
from lspo.rollout import Sampling, TransformersEngine
from lspo.rollout.local_policy import LocalPolicy
from lspo.sampling import AccuracyBand, Chain, GroupSelector, KeepAll, LengthBand
from lspo.testing import tiny_model
from lspo.types import Prompt, Rollout, RolloutBatch

OBJECTIVES: dict[str, Objective] = {"grpo": GRPO(), "dapo": DAPO(clip_low=0.2, clip_high=0.28)}
SELECTORS: dict[str, GroupSelector] = {
    "none": KeepAll(),
    "accuracy": AccuracyBand(),  # drops groups that are all right or all wrong: DAPO's dynamic sampling
    "lspo": Chain(AccuracyBand(), LengthBand(low=0.3, high=0.65, max=0.95)),
}


class ShuffledPrompts:
    """Prompts at random, each draw with its running number."""

    def __init__(self, prompts: list[Prompt], seed: int) -> None:
        self.prompts, self.source, self.drawn = prompts, random.Random(seed), 0

    def draw(self, count: int) -> list[tuple[int, Prompt]]:
        self.drawn += count
        return [(self.drawn - count + i, self.source.choice(self.prompts)) for i in range(count)]


def logprobs(model: Any, batch: RolloutBatch) -> Tensor:
    """Log pi(token) of each response token, (N, T)."""
    return model_logprobs(model, batch.token_ids, batch.prompt_lengths, batch.response_mask)[0]


def step(model: Any, optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def supervised_start(model: Any, tokenizer: Any, steps: int, seed: int) -> None:
    """Imitates demonstrations: without it every response is wrong, and no group says which way is better."""
    teacher, source = RunningSumDemonstrations(), random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
    for number in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (number + 1) / 30)  # warm-up
        pairs = teacher.draw(number, 64, source)
        asked = encode_prompts(tokenizer, [prompt for prompt, _ in pairs])
        written = [(*ids, tokenizer.eos_token_id) for ids in encode_texts(tokenizer, [text for _, text in pairs])]
        examples = [
            TrainingRollout(tuple(prompt), Rollout(ids, (0.0,) * len(ids), truncated=False, text=""), 1.0, version=0)
            for prompt, ids in zip(asked, written, strict=True)
        ]
        tokens = sum(map(len, written))
        batch = collate(examples, pad_token_id=0, num_tokens=tokens, num_sequences=64, temperature=1.0)
        step(model, optimizer, -logprobs(model, batch).sum() / tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description="GRPO and LSPO in one loop, without Lightning.")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--start-steps", type=int, default=300, help="optimizer steps of the supervised start")
    parser.add_argument("--train-groups", type=int, default=32, help="groups to train on, two mini-batches of them")
    parser.add_argument("--group-size", type=int, default=8, help="responses per prompt")
    parser.add_argument("--selector", choices=SELECTORS, default="lspo")
    parser.add_argument("--objective", choices=OBJECTIVES, default="dapo")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)  # so small a model is fastest with one

    tokenizer = RunningSumDemonstrations().tokenizer()
    model = tiny_model(
        tokenizer, seed=args.seed, hidden_size=96, intermediate_size=384, num_key_value_heads=4,
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    )  # fmt: skip
    supervised_start(model, tokenizer, args.start_steps, args.seed)
    before = torch.nn.utils.parameters_to_vector(model.parameters()).detach()

    prompts = ShuffledPrompts(RunningSumProblems(4096, seed=1).prompts(tokenizer), args.seed)
    policy = LocalPolicy(model, tokenizer)
    engine = TransformersEngine(max_batch_responses=512)
    engine.setup(policy)
    reward, selector, objective = ExactMatchReward(), SELECTORS[args.selector], OBJECTIVES[args.objective]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.01)
    layout = BatchLayout(args.train_groups, minibatch_groups=args.train_groups // 2)

    for iteration in range(args.iterations):
        # 1. Rollouts: rounds of prompts are answered, scored and selected, until there are enough groups.
        engine.update()
        plan = CollectPlan(
            iteration, args.train_groups, args.group_size, round_prompts=2 * args.train_groups,
            min_pool=2 * args.train_groups, on_shortfall="train", sampling=Sampling(max_response_tokens=24),
        )  # fmt: skip
        report = collect(prompts, engine, reward, selector, plan)

        # 2. Batches: advantages within each group, then two mini-batches, padded.
        minibatches = deal(report.groups, layout, rank=0, pad_token_id=tokenizer.pad_token_id, temperature=1.0)
        with torch.no_grad():
            old = [[logprobs(model, batch) for batch in minibatch] for minibatch in minibatches]

        # 3. Training: an optimizer step for each mini-batch.
        for minibatch, olds in zip(minibatches, old, strict=True):
            (batch,), (old_logprobs,) = minibatch, olds
            output = objective(
                logprobs=logprobs(model, batch), old_logprobs=old_logprobs, advantages=batch.advantages,
                response_mask=batch.response_mask, num_tokens=batch.num_tokens, num_sequences=batch.num_sequences,
            )  # fmt: skip
            loss = step(model, optimizer, output.loss)
        policy.version += 1

        stats = report.stats
        print(
            f"iteration {iteration}: accuracy {stats.accuracy.mean():.3f}, length {stats.lengths.mean():.1f}, "
            f"kept {len(report.groups)} of {len(stats)} groups in {len(report.rounds)} rounds, loss {loss:+.4f}",
            flush=True,
        )
    moved = torch.nn.utils.parameters_to_vector(model.parameters()).detach() - before
    print(f"weights moved by {moved.norm():.3f} since the supervised start")


if __name__ == "__main__":
    main()
