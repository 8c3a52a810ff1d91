"""What a step could take on this machine: responses by a decoder written by hand, and gradients over real tokens alone.

    python benchmarks/peers/limits.py 1m-tail runs/peers/1m-tail limits.jsonl --steps 7

No lspo is in it. Each step samples the workload's responses with `decoder.py`, then makes the gradient of the same
responses in several ways: cut into K bins of like length, each padded; packed, so that no padding is computed (groups
dealt whole into K micro-batches); and packed with the prompt of a group computed once. Every way clips and has AdamW
step. The line has one setting for each way and K; the fastest is the limit. Before anything is timed, gradients of all
ways are compared, and the decoder's log-probs with those of transformers' forward.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import process
import torch
from decoder import Decoder
from packing import Group, balanced, like_length, pack_groups, packed_loss, padded_loss
from torch import Tensor
from workloads import CLIP_NORM, LEARNING_RATE, WARM_UP_STEPS, WEIGHT_DECAY, WORKLOADS, Workload, coin, questions

Way = Callable[[Any, Sequence[Group], int], None]


def sorted_bins(model: Any, groups: Sequence[Group], k: int) -> None:
    rollouts = [
        (group.prompt, response, weight)
        for group in groups
        for response, weight in zip(group.responses, group.weights, strict=True)
    ]
    for members in like_length([len(prompt) + len(response) for prompt, response, _ in rollouts], k):
        padded_loss(model, [rollouts[member] for member in members]).backward()


def packed(model: Any, groups: Sequence[Group], k: int) -> None:
    _packed(model, groups, k, shared=False)


def packed_shared(model: Any, groups: Sequence[Group], k: int) -> None:
    _packed(model, groups, k, shared=True)


def _packed(model: Any, groups: Sequence[Group], k: int, *, shared: bool) -> None:
    sizes = [sum(map(len, group.responses)) for group in groups]
    for members in balanced(sizes, k):
        packed_loss(model, pack_groups([groups[member] for member in members], shared=shared)).backward()


WAYS: dict[str, tuple[Way, tuple[int, ...]]] = {
    "padded, like lengths": (sorted_bins, (4, 8, 16)),
    "packed": (packed, (1, 2, 4, 8)),
    "packed, prompt once": (packed_shared, (1, 2, 4, 8)),
}


def weighted(
    prompts: Sequence[list[int]], responses: Sequence[list[int]], texts: Sequence[str], size: int
) -> list[Group]:
    """Groups with the advantages of the reward, spread over all response tokens as DAPO does."""
    total = sum(map(len, responses))
    rewards = torch.tensor([coin(text) for text in texts]).view(-1, size)
    advantages = (rewards - rewards.mean(dim=1, keepdim=True)) / (rewards.std(dim=1, keepdim=True) + 1e-6)
    return [
        Group(prompt, list(responses[place * size : (place + 1) * size]), (-advantages[place] / total).tolist())
        for place, prompt in enumerate(prompts)
    ]


def gradient(model: Any, way: Way, groups: Sequence[Group], k: int) -> list[Tensor]:
    model.zero_grad()
    way(model, groups, k)
    found = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    return found


def check_gradients(model: Any, groups: Sequence[Group]) -> float:
    """The largest difference between the ways, relative to the largest entry of its tensor.

    Raises:
        SystemExit: If it is no rounding: then nothing that is timed would mean anything.
    """
    wanted = gradient(model, sorted_bins, groups, 1)
    worst = 0.0
    for way, _ in WAYS.values():
        for found, one in zip(gradient(model, way, groups, 2), wanted, strict=True):
            worst = max(worst, float((found - one).abs().max() / one.abs().max()))
    if worst > 1e-3:
        raise SystemExit(f"Expected the same gradient in all ways, but they differ by {worst:.2g}.")
    return worst


@torch.no_grad()
def check_decoder(model: Any, prompts: Sequence[list[int]], written: Any, size: int) -> float:
    """The largest difference, in nats, of the decoder's log-probs from those of a whole forward."""
    worst = 0.0
    for place, (response, logprobs) in enumerate(zip(written.token_ids, written.logprobs, strict=True)):
        prompt = prompts[place // size]
        logits = model(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        wanted = logits.log_softmax(dim=-1).gather(1, torch.tensor(response)[:, None]).squeeze(1)
        worst = max(worst, float((wanted - torch.tensor(logprobs)).abs().max()))
    if worst > 1e-3:
        raise SystemExit(f"Expected the decoder's log-probs to be the model's, but they differ by {worst:.2g} nats.")
    return worst


class Limits:
    """A model on its way through the steps of a workload."""

    def __init__(self, workload: Workload, folder: str, turn: int) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.workload, self.tokenizer = workload, AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.generator = torch.Generator().manual_seed(turn)
        self.questions = [list(ids) for ids in self.tokenizer(questions())["input_ids"]]

    def prompts(self) -> list[list[int]]:
        places = torch.randperm(len(self.questions), generator=self.generator)[: self.workload.num_prompts]
        return [self.questions[place] for place in places.tolist()]

    def write(self, prompts: Sequence[list[int]]) -> Any:
        return Decoder(self.model).write(
            prompts, group_size=self.workload.group_size, limit=self.workload.max_response_tokens,
            end=self.tokenizer.eos_token_id, generator=self.generator,
        )  # fmt: skip

    def groups(self, prompts: Sequence[list[int]], written: Any) -> list[Group]:
        texts = self.tokenizer.batch_decode(written.token_ids, skip_special_tokens=True)
        return weighted(prompts, written.token_ids, texts, self.workload.group_size)

    def check(self) -> None:
        prompts = self.prompts()
        written = self.write(prompts)
        check_decoder(self.model, prompts, written, self.workload.group_size)
        check_gradients(self.model, self.groups(prompts, written)[:2])

    def step(self) -> dict[tuple[str, int], dict[str, float]]:
        """Seconds of each way and K, on the same responses."""
        started = time.perf_counter()
        prompts = self.prompts()
        written = self.write(prompts)
        groups = self.groups(prompts, written)
        generate = time.perf_counter() - started
        found = {}
        for name, (way, ks) in WAYS.items():
            for k in ks:
                started = time.perf_counter()
                if k <= len(groups):
                    way(self.model, groups, k)
                    torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
                    self.optimizer.step()
                    self.optimizer.zero_grad()
                    train = time.perf_counter() - started
                    found[name, k] = {
                        "seconds": generate + train,
                        "generate": generate,
                        "gradient": train,
                        "tokens": written.num_tokens,
                        "responses": len(written.token_ids),
                    }
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("model")
    parser.add_argument("lines", type=Path)
    parser.add_argument("--steps", type=int, default=WARM_UP_STEPS + 5, help="all steps, those not counted included")
    parser.add_argument("--turn", type=int, default=0, help="seed")
    arguments = parser.parse_args()
    process.count_processor_seconds()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    limits = Limits(WORKLOADS[arguments.workload], arguments.model, arguments.turn)
    limits.check()
    steps = [limits.step() for _ in range(arguments.steps)][WARM_UP_STEPS:]
    for name, k in steps[0] if steps else ():
        process.leave_line(
            arguments.lines,
            {
                "workload": arguments.workload, "who": "limit", "label": "limit", "turn": arguments.turn,
                "setting": f"{name}, K={k}", "threads": torch.get_num_threads(),
                "steps": [step[name, k] for step in steps], "versions": process.versions("torch", "transformers"),
            },
        )  # fmt: skip


if __name__ == "__main__":
    main()
