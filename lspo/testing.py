"""Fakes for tests, users' own included: a scripted engine and reward, listed prompts, a tiny model and its policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch

from lspo.errors import SettingError
from lspo.rewards.base import Response, Reward
from lspo.rollout.base import PolicyHandle, RolloutEngine, Sampling
from lspo.rollout.local_policy import LocalPolicy
from lspo.sampling.base import GroupStats
from lspo.types import Prompt, Rollout, RolloutGroup, Score


def hashed(*parts: Any) -> int:
    """A whole number below 2**64 that depends on the parts alone: the same on every machine, in every process.

    Example:
        >>> hashed("prompt", 3) == hashed("prompt", 3), hashed("prompt", 3) == hashed("prompt", 4)
        (True, False)
    """
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def make_pool(
    lengths: Sequence[Sequence[float]],
    accuracy: Sequence[Sequence[float]] | None = None,
    *,
    rewards: Sequence[Sequence[float]] | None = None,
    first_index: int = 0,
) -> GroupStats:
    """A pool of groups to try a selector on.

    Args:
        lengths: Response tokens, one row per group.
        accuracy: 0 or 1; unless given, the first response of each group is right and the others are wrong.
        rewards: What the objective sees; unless given, the accuracy.
        first_index: Draw index of the first group.

    Example:
        >>> from lspo.sampling import LengthBand
        >>> pool = make_pool([[1.0, 3.0], [5.0, 5.0], [9.0, 9.0], [40.0, 60.0]])
        >>> LengthBand(low=0.25, high=0.75, max=0.75).decide(pool, iteration=0).reasons
        ['kept', 'length_middle', 'kept', 'length_above_max']
    """
    sizes = torch.tensor(lengths, dtype=torch.float64)
    if accuracy is None:
        correct = torch.zeros_like(sizes)
        correct[:, :1] = 1.0
    else:
        correct = torch.tensor(accuracy, dtype=torch.float64)
    return GroupStats(
        draw_index=torch.arange(first_index, first_index + len(sizes)),
        prompt_ids=[f"prompt-{first_index + place}" for place in range(len(sizes))],
        lengths=sizes,
        accuracy=correct,
        rewards=correct if rewards is None else torch.tensor(rewards, dtype=torch.float64),
        truncated=torch.zeros(sizes.shape, dtype=torch.bool),
    )


class ListPrompts:
    """Prompts in the order given, again and again, numbered from 0.

    Args:
        prompts: The prompts, or how many to generate: short ones over the token ids 2 to 9.
        position: Draw index of the next prompt.

    Example:
        >>> [(index, prompt.id) for index, prompt in ListPrompts(2).draw(3)]
        [(0, 'prompt-0'), (1, 'prompt-1'), (2, 'prompt-0')]
    """

    def __init__(self, prompts: Sequence[Prompt] | int = 16, *, position: int = 0) -> None:
        self.prompts = [_prompt(number) for number in range(prompts)] if isinstance(prompts, int) else list(prompts)
        if not self.prompts:
            raise SettingError("Expected at least one prompt, but got none.")
        self.position = position

    def draw(self, count: int) -> list[tuple[int, Prompt]]:
        """The next `count` prompts with their draw indices."""
        drawn = range(self.position, self.position + count)
        self.position += count
        return [(index, self.prompts[index % len(self.prompts)]) for index in drawn]


def _prompt(number: int) -> Prompt:
    token_ids = tuple(2 + hashed("prompt", number, place) % 8 for place in range(1 + number % 4))
    return Prompt(id=f"prompt-{number}", text=f"Prompt {number}?", token_ids=token_ids, answer=str(number % 10))


@dataclass(frozen=True)
class ScriptedResponse:
    """What a scripted engine writes: so many tokens, the end token included, that read as `text`."""

    num_tokens: int
    text: str = ""
    truncated: bool = False


@dataclass(frozen=True)
class EngineCall:
    """What a scripted engine was asked, and the version it had."""

    prompts: tuple[Prompt, ...]
    group_size: int
    sampling: Sampling
    keys: tuple[int, ...]
    version: int


class ScriptedEngine(RolloutEngine):
    """Writes what a function of (draw index, place in the group) says, the shortest groups first.

    Groups finish in the order of their longest response, equally long ones last drawn first: never in draw order, as
    with a real engine. What is longer than the sampling's limit is cut there. Without `setup` its `version` can be set
    by hand; after it, `update` takes the policy's. It gives no log-probs of what it writes.

    Args:
        script: (draw index, place in the group) -> response, or its number of tokens; unless given, pseudo-random
            lengths up to the sampling's limit, by a hash of the seed too.
        version: Iterations completed by the weights it pretends to have.
    """

    def __init__(self, script: Callable[[int, int], ScriptedResponse | int] | None = None, *, version: int = 0) -> None:
        self.script = script
        self.version = version
        self.calls: list[EngineCall] = []
        self.closed = False
        self._policy: PolicyHandle | None = None

    def setup(self, policy: PolicyHandle, *, rank: int = 0, world_size: int = 1) -> None:
        self._policy = policy
        self.version = -1

    def update(self) -> None:
        if self._policy is not None:
            self.version = self._policy.version

    def generate(
        self, prompts: Sequence[Prompt], *, group_size: int, sampling: Sampling, keys: Sequence[int]
    ) -> Iterator[RolloutGroup]:
        self.calls.append(EngineCall(tuple(prompts), group_size, sampling, tuple(keys), self.version))
        groups = [
            RolloutGroup(
                prompt, key, self.version, tuple(self._rollout(key, sample, sampling) for sample in range(group_size))
            )
            for prompt, key in zip(prompts, keys, strict=True)
        ]
        yield from sorted(groups, key=lambda group: (max(r.num_tokens for r in group.rollouts), -group.draw_index))

    def close(self) -> None:
        self.closed = True

    def _rollout(self, draw_index: int, sample: int, sampling: Sampling) -> Rollout:
        limit = sampling.max_response_tokens
        number = hashed("response", sampling.stream, draw_index, sample)
        written = self.script(draw_index, sample) if self.script else ScriptedResponse(1 + number % limit, str(number))
        if isinstance(written, int):
            written = ScriptedResponse(written, str(number))
        size = min(written.num_tokens, limit)
        truncated = written.truncated or size < written.num_tokens
        token_ids = [2 + hashed("token", number, place) % 8 for place in range(size)]
        if self._policy is not None and token_ids and not truncated:
            token_ids[-1] = self._policy.eos_token_ids[0]
        return Rollout(token_ids, (), truncated, written.text)


class ScriptedReward(Reward):
    """Verdicts by a function of the response; unless given, right or wrong by a hash of the prompt and the text.

    Args:
        verdict: What `Reward.score_batch` may return for one response.
    """

    def __init__(self, verdict: Callable[[Response], Score | float | bool] | None = None) -> None:
        self.verdict = verdict if verdict is not None else _coin

    def score_batch(self, responses: Sequence[Response]) -> list[Score | float | bool]:
        return [self.verdict(response) for response in responses]


def _coin(response: Response) -> bool:
    return hashed("verdict", response.prompt.id, response.text) % 2 == 1


def tiny_model(tokenizer: Any, *, seed: int = 0, **settings: Any) -> Any:
    """A transformers Qwen2 model of random weights in float32, for the vocabulary of `tokenizer`.

    Args:
        tokenizer: A transformers tokenizer.
        seed: Of the weights; the global random state is left alone.
        **settings: Of `Qwen2Config`, in place of these. A larger `initializer_range` makes its choices less even.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM

    small = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "dtype": "float32",
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2ForCausalLM(Qwen2Config(**{**small, **settings}))


class StubPolicy(LocalPolicy):
    """A policy that is one model in this process: no Lightning, no sharding; set its `version` by hand."""
