"""What an engine is asked, and what it may ask of the policy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lspo.errors import SettingError
from lspo.objectives.advantages import Scale
from lspo.types import PerToken, Prompt, RolloutBatch, RolloutGroup


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled. Every setting is explicit: a checkpoint's own generation settings are never read.

    Args:
        max_response_tokens: A response is cut here, the end token included.
        temperature: Divides the logits; training log-probs use the same. 0 is greedy, for evaluation only.
        top_p: Share of probability to sample from. Below 1, training log-probs no longer match what was sampled; an
            engine's do, so that a `correction` weighs for the difference.
        top_k: Number of tokens to sample from; 0 is all of them. The same holds.
        seed: Names the stream of random numbers, together with a prompt's key and a response's place in its group.
            None: the run's; of an engine that is used by itself, 0.
        skip_special_tokens: Whether special tokens are left out of the text that rewards and logs see. Set it to False
            where tags that a reward looks for, as `<think>`, are special tokens. The token that ends a response is left
            out in any case.

    Raises:
        ValueError: If a setting is out of its range.
    """

    max_response_tokens: int = 1024
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    skip_special_tokens: bool = True

    def __post_init__(self) -> None:
        if self.max_response_tokens < 1:
            raise SettingError(f"Expected `max_response_tokens` to be at least 1, but got {self.max_response_tokens}.")
        if self.temperature < 0:
            raise SettingError(f"Expected `temperature` to be at least 0, but got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise SettingError(f"Expected `top_p` to be above 0 and at most 1, but got {self.top_p}.")
        if self.top_k < 0:
            raise SettingError(f"Expected `top_k` to be at least 0, where 0 is all tokens, but got {self.top_k}.")

    @property
    def stream(self) -> int:
        """The seed, and 0 where it is left to the run but there is none."""
        return 0 if self.seed is None else self.seed

    @property
    def biased(self) -> bool:
        """True if responses come from another distribution than the one whose log-probs are trained."""
        return self.top_p < 1 or self.top_k > 0


class PolicyHandle(ABC):
    """What an engine may ask of a policy. `PolicyModule` implements it; tests pass a stub."""

    @property
    @abstractmethod
    def name_or_path(self) -> str:
        """Hub name or folder of the initial weights, with configuration and tokenizer."""

    @property
    @abstractmethod
    def tokenizer(self) -> Any:
        """The transformers tokenizer."""

    @property
    @abstractmethod
    def eos_token_ids(self) -> tuple[int, ...]:
        """Every token that ends a response."""

    @property
    @abstractmethod
    def version(self) -> int:
        """Iterations completed by the present weights."""

    def gathered(self) -> AbstractContextManager[None]:
        """Context, collective, in which `unsharded` is not: ranks may enter it as often as each needs."""
        return nullcontext()

    @abstractmethod
    def unsharded(self) -> AbstractContextManager[Any]:
        """Context, collective, in which the transformers model it yields has whole weights and may generate."""

    @abstractmethod
    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """(name in a checkpoint's files, whole tensor) one at a time, collective; tied weights under one name."""

    @property
    def tied_weights(self) -> Mapping[str, str]:
        """Second names of weights, which files do not have, and the names that they have there."""
        return {}

    @abstractmethod
    def logprobs(self, batch: RolloutBatch) -> PerToken:
        """Log-probs of the batch's response tokens under the present weights, no gradient, collective."""

    def ref_logprobs(self, batch: RolloutBatch) -> PerToken | None:
        """The same under the frozen reference policy; None where there is none."""
        return None

    @property
    def advantage_scales(self) -> tuple[Scale, ...]:
        """What its objective allows advantages to be divided by."""
        return ("group", "batch", "none")

    @property
    def response_limits(self) -> Mapping[str, int]:
        """Response lengths, in tokens, that its objective was made for, by name; see `Reward.response_limits`."""
        return {}


class RolloutEngine(ABC):
    """Writes responses. Holds no state that a checkpoint would need."""

    version: int = -1

    def check(self) -> None:  # noqa: B027 (most engines need nothing)
        """Looks at what can be known before anything starts, as whether a library is there.

        Raises:
            ModuleNotFoundError: If one is not; the message names what to install.
        """

    @abstractmethod
    def setup(self, policy: PolicyHandle, *, rank: int = 0, world_size: int = 1) -> None:
        """Gets ready on this rank; called once, after the strategy has its processes."""

    @abstractmethod
    def update(self) -> None:
        """Pulls the policy's weights; afterwards `version` equals the policy's."""

    @abstractmethod
    def generate(
        self, prompts: Sequence[Prompt], *, group_size: int, sampling: Sampling, keys: Sequence[int]
    ) -> Iterator[RolloutGroup]:
        """Yields a group for each prompt, as it finishes, in any order.

        Args:
            prompts: What to answer.
            group_size: Responses for each.
            sampling: How.
            keys: One integer a prompt, the group's `draw_index`; with the seed and the response's place in its group
                it names the random numbers, so that a response does not depend on what else is generated beside it.
        """

    def idle(self) -> None:  # noqa: B027 (most engines hold nothing)
        """Gives back what only generation needs, as training begins; the next `update` takes it again."""

    def metrics(self) -> dict[str, float]:
        """Numbers of the last update and generation, for the logs."""
        return {}

    def close(self) -> None:  # noqa: B027 (most engines take nothing)
        """Frees what `setup` took. May be called twice."""
