"""What travels between the pieces, and the legend of every tensor shape.

Legend: P prompts, G group size, N = P * G rollouts, T response tokens, L prompt + response tokens,
M response tokens of a whole batch in one row, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lspo.arrays import GivenRow, Ids, Logprobs, ids_of, logprobs_of, same_rows
from lspo.errors import RunError

Scalar = Float[Tensor, ""]
PerRollout = Float[Tensor, " N"]
PerToken = Float[Tensor, "N T"]
Temperature = float | PerRollout
"""One for all rollouts, or one for each."""
TokenMask = Bool[Tensor, "N T"]
TokenIds = Int[Tensor, "N L"]
Counts = Int[Tensor, " N"]
PerGroup = Float[Tensor, " P"]
GroupMask = Bool[Tensor, " P"]
GroupIndex = Int[Tensor, " P"]
Places = Int[Tensor, " P"]
"""Prompts, by their place in the training set."""
PerResponse = Float[Tensor, "P G"]
ResponseMask = Bool[Tensor, "P G"]

SHOWN_CHARACTERS = 40
"""Of a response's text, where a rollout is printed."""


@dataclass(frozen=True)
class Prompt:
    """One problem: what the policy reads, and what its answers are checked against."""

    id: str
    text: str
    token_ids: tuple[int, ...]
    answer: str
    extra: Mapping[str, Any] = field(default_factory=dict)


NO_PROMPT = Prompt("", "", (), "")
"""Where a prompt is known, but not here."""


class Draw(NamedTuple):
    """A prompt that is generated for.

    Args:
        draw_index: Its running number among all draws, those skipped by a predictor included.
        prompt: The problem.
        place: Of the prompt in the training set.
        probability: With which a draw of this prompt was taken, above 0 and at most 1.
    """

    draw_index: int
    prompt: Prompt
    place: int = -1
    probability: float = 1.0


@dataclass(frozen=True)
class Score:
    """A verdict on one response: strict `accuracy` (0 or 1) and the, maybe shaped, `reward`, with its named parts.

    `answer` is what the response answers, in a form in which equal answers are equal text, so that maj@k can vote;
    None where none was found or the reward does not say.
    """

    accuracy: float
    reward: float
    parts: Mapping[str, float] = field(default_factory=dict)
    answer: str | None = None

    @classmethod
    def of(cls, verdict: Any) -> Score:
        """A score as it is; a bare number as both accuracy and reward.

        Raises:
            TypeError: If it is neither.
            ValueError: If it is text that is no number.
        """
        if isinstance(verdict, Score):
            # Plain numbers and text: a checkpoint may hold them, and loads nothing else.
            parts = {name: float(value) for name, value in verdict.parts.items()}
            answer = None if verdict.answer is None else str(verdict.answer)
            return cls(float(verdict.accuracy), float(verdict.reward), parts, answer)
        return cls(float(verdict), float(verdict))


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Rollout:
    """One sampled response: its tokens (the end token included), their engine log-probs, text and, later, its score.

    Tokens and log-probs are read-only arrays of int32 and float32, made of any sequence of numbers: of 49 million
    tokens Python's own numbers would take 4 GB, and arrays 0.4.

    A log-prob that is not finite is one that the engine could not give; its token is left out of the loss. An engine
    that gives none at all leaves `logprobs` empty: nothing is then known of the mismatch.

    `old_logprobs` are the trainer's under the weights that sampled it, stored where it may train later weights.

    Raises:
        RuntimeError: If token ids or log-probs are no rows of numbers, or token ids are out of range.

    Example:
        >>> Rollout((5, 6, 2), (-0.1, -0.2, -0.3), truncated=False, text="42")
        Rollout(3 tokens, text='42')
    """

    token_ids: Ids
    logprobs: Logprobs
    truncated: bool
    text: str
    score: Score | None
    old_logprobs: Logprobs | None

    def __init__(
        self,
        token_ids: GivenRow,
        logprobs: GivenRow,
        truncated: bool,
        text: str,
        score: Score | None = None,
        old_logprobs: GivenRow | None = None,
    ) -> None:
        vars(self).update(
            token_ids=ids_of(token_ids),
            logprobs=logprobs_of(logprobs),
            truncated=truncated,
            text=text,
            score=score,
            old_logprobs=None if old_logprobs is None else logprobs_of(old_logprobs),
        )

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def has_old_logprobs(self) -> bool:
        return self.old_logprobs is not None

    @property
    def num_nonfinite(self) -> int:
        """Tokens whose engine log-prob is not finite."""
        return len(self.logprobs) - int(np.isfinite(self.logprobs).sum())

    def __eq__(self, other: object) -> bool:
        # What is known of a rollout elsewhere is of another kind, and equals none.
        if not isinstance(other, Rollout) or type(other) is not type(self):
            return NotImplemented
        return (self.truncated, self.text, self.score) == (other.truncated, other.text, other.score) and all(
            same_rows(getattr(self, name), getattr(other, name)) for name in ("token_ids", "logprobs", "old_logprobs")
        )

    def __hash__(self) -> int:
        return hash((self.token_ids.tobytes(), self.truncated, self.text))

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= SHOWN_CHARACTERS else self.text[:SHOWN_CHARACTERS] + "..."
        cut = ", truncated" if self.truncated else ""
        score = "" if self.score is None else f", {self.score}"
        return f"Rollout({self.num_tokens} tokens{cut}, text={text!r}{score})"

    def __reduce__(self) -> tuple[Any, ...]:
        # By way of the constructor: arrays that come out of a pickle can be written to, and may be views of it.
        return type(self), tuple(vars(self).values())


@dataclass(frozen=True)
class RolloutGroup:
    """The rollouts of one prompt, all written by the weights of one `version` (iterations completed).

    `temperature` is the one they were sampled at; None until a collection has noted it. `place` and `probability` are
    those of the prompt's `Draw`.
    """

    prompt: Prompt
    draw_index: int
    version: int
    rollouts: tuple[Rollout, ...]
    temperature: float | None = None
    place: int = -1
    probability: float = 1.0

    @property
    def num_tokens(self) -> int:
        return sum(rollout.num_tokens for rollout in self.rollouts)

    @property
    def num_nonfinite(self) -> int:
        """Tokens whose engine log-prob is not finite."""
        return sum(rollout.num_nonfinite for rollout in self.rollouts)

    @property
    def scores(self) -> list[Score]:
        missing = [rollout for rollout in self.rollouts if rollout.score is None]
        if missing:
            raise RunError(f"Expected a scored group, but {len(missing)} rollouts of {self.prompt.id} have no score.")
        return [rollout.score for rollout in self.rollouts if rollout.score is not None]


class RolloutBatch:
    """One micro-batch, with the counts of the whole mini-batch it belongs to.

    Not a dataclass on purpose: Lightning's precision plugins walk into dataclasses and would cast `old_logprobs` to
    the training precision.

    Args:
        token_ids: Prompt and response of each rollout, padded on the right.
        prompt_lengths: Prompt tokens of each rollout; the response follows at once.
        response_mask: True = a response token that counts in the loss.
        advantages: Reward relative to its group.
        num_tokens: True entries of the masks of the whole mini-batch, on all ranks.
        num_sequences: Rollouts of the whole mini-batch, on all ranks, with at least one True.
        temperature: The sampling temperature, at which log-probs are taken: one for each rollout where they differ, as
            those of earlier iterations may.
        version: Iterations completed by the weights that wrote the oldest of these rollouts.
        old_logprobs: Trainer log-probs under the weights that sampled; None while they equal the present ones.
        engine_logprobs: What the inference engine reported.
        ref_logprobs: Log-probs under the frozen reference policy.
        old_from_engine: True if `old_logprobs` are the engine's: then what they differ by is in the ratio.
    """

    _TENSORS = (
        "token_ids", "prompt_lengths", "response_mask", "advantages",
        "old_logprobs", "engine_logprobs", "ref_logprobs",
    )  # fmt: skip
    _NUMBERS = ("num_tokens", "num_sequences", "temperature", "version", "old_from_engine")

    def __init__(
        self,
        *,
        token_ids: TokenIds,
        prompt_lengths: Counts,
        response_mask: TokenMask,
        advantages: PerRollout,
        num_tokens: int,
        num_sequences: int,
        temperature: Temperature = 1.0,
        version: int = 0,
        old_logprobs: PerToken | None = None,
        engine_logprobs: PerToken | None = None,
        ref_logprobs: PerToken | None = None,
        old_from_engine: bool = False,
    ) -> None:
        self.token_ids = token_ids
        self.prompt_lengths = prompt_lengths
        self.response_mask = response_mask
        self.advantages = advantages
        self.num_tokens = num_tokens
        self.num_sequences = num_sequences
        self.temperature = temperature
        self.version = version
        self.old_logprobs = old_logprobs
        self.engine_logprobs = engine_logprobs
        self.ref_logprobs = ref_logprobs
        self.old_from_engine = old_from_engine

    def __len__(self) -> int:
        return int(self.token_ids.shape[0])

    def __repr__(self) -> str:
        return f"RolloutBatch({len(self)} rollouts, {int(self.response_mask.sum())} response tokens)"

    def state_dict(self) -> dict[str, Any]:
        """All fields as plain data (tensors and numbers), for a checkpoint."""
        return {name: getattr(self, name) for name in (*self._TENSORS, *self._NUMBERS)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> RolloutBatch:
        return cls(**state)

    def replace(self, **changes: Any) -> RolloutBatch:
        return RolloutBatch(**{**self.state_dict(), **changes})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RolloutBatch:
        moved = {name: tensor.to(device, non_blocking=non_blocking) for name, tensor in self._tensors()}
        return self.replace(**moved)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name in self._TENSORS:
            tensor = getattr(self, name)
            if tensor is not None:
                yield name, tensor
        if isinstance(self.temperature, Tensor):
            yield "temperature", self.temperature
