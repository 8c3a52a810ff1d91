"""What lspo and TRL are both given: models, prompts, reward, sizes and the settings of learning.

Imported in both environments, so from Python alone.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

WARM_UP_STEPS = 2
"""Steps of each process that are not counted: memory is first taken, kernels are chosen."""

LEARNING_RATE, WEIGHT_DECAY, CLIP_NORM = 1e-6, 0.1, 1.0
CLIP_LOW, CLIP_HIGH = 0.2, 0.28


@dataclass(frozen=True)
class Workload:
    """One optimizer step per iteration with DAPO's loss; nothing is filtered or evaluated.

    Args:
        name: What it is called on the command line.
        hidden: Width of the random Qwen2 model.
        layers: Its layers.
        num_prompts: Prompts of a step.
        max_response_tokens: Where a response is cut.
        ends: Whether the model has an end token. With one, about 1 token in 100 is the end; without, every response
            has exactly `max_response_tokens`.
        ks: Micro-batches of a step that lspo is measured with.
        micros: Responses of a micro-batch that TRL is measured with.
        group_size: Responses to a prompt.
    """

    name: str
    hidden: int
    layers: int
    num_prompts: int
    max_response_tokens: int
    ends: bool
    ks: tuple[int, ...]
    micros: tuple[int, ...]
    group_size: int = 8

    @property
    def num_responses(self) -> int:
        return self.num_prompts * self.group_size


WORKLOADS = {
    one.name: one
    for one in (
        Workload("1m-fixed", 128, 4, 16, 64, False, ks=(1, 2, 4, 8), micros=(128, 64, 32, 16)),
        Workload("1m-tail", 128, 4, 16, 256, True, ks=(1, 2, 4, 8, 16), micros=(128, 64, 32, 16, 8)),
        Workload("20m-fixed", 512, 6, 4, 64, False, ks=(1, 2, 4), micros=(32, 16, 8)),
        Workload("20m-tail", 512, 6, 4, 256, True, ks=(1, 2, 4, 8), micros=(32, 16, 8, 4)),
    )
}
MEMORY_PAIR = ("1m-tail", 8, 16)
"""Workload, K of lspo and micro-batch of TRL whose memory is compared: 16 responses at a time on both sides."""


def questions(count: int = 4096) -> list[str]:
    """Sums to write out, of 4 to 14 characters."""
    chance = random.Random(0)
    return [f"{chance.randrange(10**6)}+{chance.randrange(10**6)}=" for _ in range(count)]


def coin(text: str) -> float:
    """A reward of 0 or 1 by a checksum of the response: groups are mixed, and there is nothing to learn."""
    return float(zlib.crc32(text.encode()) & 1)
