"""Rollouts by the policy's own transformers model: no copy of the weights, nothing to install."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from lspo.batching.dealing import spread
from lspo.errors import RunError, SettingError
from lspo.models.decoding import response_text
from lspo.models.head import plain_model
from lspo.models.pretrained import exact_tokens
from lspo.rollout.base import PolicyHandle, RolloutEngine, Sampling
from lspo.rollout.decoding import Decoding, Ended, Setting, Wanted
from lspo.rollout.growing_cache import growing_cache, takes_rows
from lspo.rollout.start_check import start_gap
from lspo.types import Prompt, Rollout, RolloutGroup

CPU_CELLS = 2**16
"""Most responses side by side, times the limit of their tokens, for which rows are filled again on a CPU.

Responses of unlike age need padding. A CPU computes it at full price, and saves only what a step costs whatever is in
it; on other devices that is most of a step.
"""


class TransformersEngine(RolloutEngine):
    """Samples with the policy's model, its prompts batched, each prompt's cache shared by its group's first token.

    Random choice is keyed (see `keyed_sampling`): a response does not depend on the batch it is generated in. Rows that
    have ended are given to responses that wait, in lots; when none waits, they are taken out of the batch and its
    cache. Models with a window of attention or a recurrent state are written in batches instead, each until its last
    row ends; so is everything on a CPU where rows are many and long (`CPU_CELLS`).

    When a run starts or is resumed, a few short responses are compared with the trainer's forward. If the two agree
    only without padding, each batch has prompts of one length. If they never agree, the run ends with an error. A
    subclass that overrides `generate` is not what is compared: `HealthWarnings` watches its log-probs.

    Args:
        max_batch_responses: Responses generated side by side. Lower it if memory for the cache is short: it has as many
            columns as the longest response in progress with its prompt.
        verify: Make that comparison, when a run starts or is resumed.
        verify_tolerance: Largest mean |log-ratio|, in nats, that it takes for rounding. None: 0.001 in float32, 0.1 in
            types of 16 bits. In float32 no single token may be further off either.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(
        self, max_batch_responses: int = 256, verify: bool = True, verify_tolerance: float | None = None
    ) -> None:
        if max_batch_responses < 1:
            raise SettingError(f"Expected `max_batch_responses` to be at least 1, but got {max_batch_responses}.")
        if verify_tolerance is not None and not verify_tolerance > 0:
            raise SettingError(f"Expected `verify_tolerance` to be above 0, but got {verify_tolerance}.")
        self.max_batch_responses = max_batch_responses
        self.verify, self.verify_tolerance = verify, verify_tolerance
        self._policy: PolicyHandle | None = None
        self._verified = False
        self._by_length = False
        self._metrics: dict[str, float] = {}

    def setup(self, policy: PolicyHandle, *, rank: int = 0, world_size: int = 1) -> None:
        self._policy = policy
        self.version = -1
        self._verified, self._by_length = not self.verify, False
        self._metrics = {}

    def update(self) -> None:
        policy = self._ready()
        self.version = policy.version
        if not self._verified:
            self._metrics = self._check_start(policy)
            self._verified = True

    def _check_start(self, policy: PolicyHandle) -> dict[str, float]:
        found = start_gap(policy, self._write, tolerance=self.verify_tolerance)
        if not found.fine:
            self._by_length = True
            without_padding = start_gap(policy, self._write, tolerance=self.verify_tolerance)
            if not without_padding.fine:
                raise RunError(found.problem(policy.name_or_path))
            warnings.warn(
                f"{policy.name_or_path} is not exact beside padding on the left, or in rows that are given to other "
                f"responses (by {found.mean:.2g} nats per token): prompts of unlike lengths are written in batches of "
                "their own, which takes longer.",
                stacklevel=2,
            )
            found = without_padding
        return {"probe_gap": found.mean, "probe_gap_max": found.most}

    def metrics(self) -> dict[str, float]:
        return dict(self._metrics)

    def generate(
        self, prompts: Sequence[Prompt], *, group_size: int, sampling: Sampling, keys: Sequence[int]
    ) -> Iterator[RolloutGroup]:
        yield from self._write(prompts, group_size=group_size, sampling=sampling, keys=keys)

    def _write(
        self,
        prompts: Sequence[Prompt],
        *,
        group_size: int,
        sampling: Sampling,
        keys: Sequence[int],
        eos_token_ids: Sequence[int] | None = None,
        slots: int | None = None,
    ) -> Iterator[RolloutGroup]:
        policy, slots = self._ready(), slots or self.max_batch_responses
        setting = Setting(
            prompts, keys, sampling,
            eos_token_ids=policy.eos_token_ids if eos_token_ids is None else eos_token_ids,
            pad_token_id=policy.tokenizer.pad_token_id or 0,
            name=policy.name_or_path,
        )  # fmt: skip
        groups = _Groups(setting, policy.tokenizer, group_size, self.version)
        # Weights are gathered once, as ranks may take different numbers of steps, or none.
        with policy.gathered():
            if not prompts:
                return
            with policy.unsharded() as model:
                config, device = plain_model(model).config, next(model.parameters()).device
            _check_positions(config, setting)
            cells = slots * sampling.max_response_tokens
            pays = device.type != "cpu" or cells <= CPU_CELLS
            refilled = pays and not self._by_length and takes_rows(growing_cache(config))
            for wanted in self._batches(prompts, group_size, slots, refilled=refilled):
                decoding = None
                while decoding is None or not decoding.finished:
                    # A while at a time, so that what is done with groups is not done in the policy's autocast.
                    with policy.unsharded() as model:
                        if decoding is None:
                            decoding = Decoding(model, wanted, slots, setting)
                        done: list[RolloutGroup] = []
                        while not done and not decoding.finished:
                            done = groups.add(decoding.advance(model))
                    yield from done

    def _batches(
        self, prompts: Sequence[Prompt], group_size: int, slots: int, *, refilled: bool
    ) -> Iterator[list[Wanted]]:
        """Responses that are written in one batch: all, if rows that end can be given to others; else what fits."""
        # Prompts of like length side by side need less padding; keyed sampling makes the order free.
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place].token_ids))
        if refilled:
            yield [Wanted(place, sample) for place in order for sample in range(group_size)]
            return
        at_once = max(1, slots // group_size)
        parts = spread(group_size, math.ceil(group_size / slots))
        runs = [order]
        if self._by_length:
            runs = [list(run) for _, run in groupby(order, key=lambda place: len(prompts[place].token_ids))]
        for run in runs:
            for start in range(0, len(run), at_once):
                for part in parts:
                    yield [Wanted(place, sample) for place in run[start : start + at_once] for sample in part]

    def close(self) -> None:
        self._policy = None

    def _ready(self) -> PolicyHandle:
        if self._policy is None:
            raise RunError("Expected `TransformersEngine.setup` to be called before it is used.")
        return self._policy


class _Groups:
    """Gathers responses until their group is whole."""

    def __init__(self, setting: Setting, tokenizer: Any, group_size: int, version: int) -> None:
        self._setting, self._tokenizer, self._version = setting, tokenizer, version
        self._rollouts: list[list[Rollout | None]] = [[None] * group_size for _ in setting.prompts]
        self._missing = [group_size] * len(setting.prompts)

    def add(self, responses: Sequence[Ended]) -> list[RolloutGroup]:
        """The groups that these make whole, in the order in which they became so."""
        whole = []
        for one in responses:
            place = one.wanted.place
            self._rollouts[place][one.wanted.sample] = self._rollout(one)
            self._missing[place] -= 1
            if not self._missing[place]:
                rollouts = tuple(rollout for rollout in self._rollouts[place] if rollout is not None)
                self._rollouts[place] = []
                setting = self._setting
                whole.append(RolloutGroup(setting.prompts[place], setting.keys[place], self._version, rollouts))
        return whole

    def _rollout(self, one: Ended) -> Rollout:
        text = response_text(
            self._tokenizer, one.token_ids.tolist(), eos_token_ids=self._setting.eos_token_ids,
            skip_special_tokens=self._setting.sampling.skip_special_tokens,
        )  # fmt: skip
        return Rollout(one.token_ids, one.logprobs, truncated=one.truncated, text=text)


def _check_positions(config: Any, setting: Setting) -> None:
    exact, limit = exact_tokens(config), setting.sampling.max_response_tokens
    longest = max(len(prompt.token_ids) for prompt in setting.prompts)
    if exact is not None and longest + limit > exact[0]:
        raise SettingError(
            f"Expected prompt and response to have at most {exact[0]} tokens together, beyond which {setting.name} "
            f"can't be trained on what it samples: {exact[1]}. But a prompt of {longest} and max_response_tokens="
            f"{limit} may need {longest + limit}. Lower one of them."
        )
