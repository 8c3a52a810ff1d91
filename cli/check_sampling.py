"""A small real sampling: what share of groups has something to learn from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Trainer

from lspo.cli.evaluation import NoTable
from lspo.cli.finding import Finding, Verdict, indented
from lspo.datamodules import Evaluation, RolloutDataModule
from lspo.lightning_modules.callbacks.problem_results import ProblemResult, ProblemResults, accuracy_of
from lspo.problems import Problem, ProblemSet
from lspo.types import Prompt, RolloutGroup

FEW_MIXED, TOO_FEW_MIXED = 0.25, 0.02
TRUNCATED_FRAC = 0.1
SHOWN_CHARACTERS = 500


class Chosen(ProblemSet):
    """Prompts that are tokenized already."""

    def __init__(self, chosen: Sequence[Prompt]) -> None:
        self.chosen = list(chosen)

    def problems(self) -> Iterator[Problem]:
        for prompt in self.chosen:
            yield Problem(prompt.id, prompt.text, prompt.answer)

    def prompts(self, tokenizer: Any) -> list[Prompt]:
        return self.chosen


class Sample(ProblemResults):
    """Results, and the responses to the first problem."""

    first: RolloutGroup | None = None

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *places: Any) -> None:
        super().on_validation_batch_end(trainer, pl_module, outputs, batch, *places)
        if self.first is None and batch.groups:
            self.first = min(batch.groups, key=lambda group: group.draw_index)


@dataclass(frozen=True)
class Sampled:
    """What was sampled: results per prompt, the responses to the first one, and how long it took."""

    results: list[ProblemResult]
    first: RolloutGroup | None
    seconds: float


def sample(policy: Any, data: Any, trainer: Any, prompts: Sequence[Prompt], accelerator: str) -> Sampled:
    """Twice as many responses to each prompt as a group has, sampled as training does."""
    found = Sample(total=len(prompts))
    module = RolloutDataModule(
        None,
        data.reward,
        val={"sample": Chosen(prompts)},
        engine=data.engine,
        sampling=data.sampling,
        batches=data.batches,
        evaluation=Evaluation(group_size=2 * data.group_size, sampling=data.sampling),
        seed=data.seed,
    )
    own = Trainer(
        accelerator=accelerator,
        devices=1,
        precision=trainer.precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[NoTable(), found],
    )
    started = time.monotonic()
    own.validate(policy, datamodule=module, verbose=False)
    return Sampled(found.results, found.first, time.monotonic() - started)


def sample_findings(sampled: Sampled, data: Any, prompts: int) -> tuple[list[Finding], list[str]]:
    """Accuracy, mixed groups at this size and twice this size, and cut responses.

    Args:
        sampled: What was sampled.
        data: The datamodule of the run.
        prompts: Training prompts in all.
    """
    results, size = sampled.results, data.group_size
    count = sum(one.responses for one in results)
    tokens = sum(one.response_tokens * one.responses for one in results)
    shares = {one: sum(result.mixed(one) for result in results) / len(results) for one in (size, 2 * size)}
    none = sum(one.correct == 0 for one in results)
    every = sum(one.correct == one.responses for one in results)
    findings = [
        Finding(
            "ok",
            f"{len(results)} prompts x {2 * size} responses: accuracy {accuracy_of(results):.3f}; "
            f"{none} prompts all wrong, {every} all right; mean length {tokens / count:.0f} tokens, "
            f"{tokens / sampled.seconds:,.0f} tokens/s",
        ),
        Finding("ok", f"prompts by their share of right responses: {histogram(results)}"),
        *_mixed(shares, size, data.train_groups, prompts),
    ]
    cut = sum(one.truncated for one in results) / count
    limit = data.sampling.max_response_tokens
    findings.append(Finding("look" if cut > TRUNCATED_FRAC else "ok", f"{cut:.1%} of responses cut at {limit} tokens"))
    return findings, _shown(sampled.first)


def _mixed(shares: dict[int, float], size: int, train_groups: int, prompts: int) -> Iterator[Finding]:
    share, larger = shares[size], shares[2 * size]
    verdict: Verdict = "stop" if share < TOO_FEW_MIXED else "look" if share < FEW_MIXED else "ok"
    yield Finding(
        verdict,
        f"expected mixed groups, mean of 1 - p^G - (1-p)^G: {share:.0%} at group_size={size}, "
        f"{larger:.0%} at {2 * size}",
    )
    if share > 0:
        drawn = train_groups / share
        verdict = "look" if drawn > prompts else "ok"
        yield Finding(
            verdict,
            f"train_groups={train_groups} mixed groups take about {drawn:,.0f} prompts of {prompts:,} per iteration, "
            "before a length band",
        )


def histogram(results: Sequence[ProblemResult]) -> str:
    """Counts of prompts by fifths of p.

    Example:
        >>> histogram([ProblemResult("a", "", "", 4, right, None, 1.0, 0) for right in (0, 0, 2, 4)])
        '0-0.2: 2, 0.2-0.4: 0, 0.4-0.6: 1, 0.6-0.8: 0, 0.8-1: 1'
    """
    counts = [0] * 5
    for one in results:
        counts[min(5 * one.correct // one.responses, 4)] += 1
    return ", ".join(f"{place / 5:g}-{(place + 1) / 5:g}: {count}" for place, count in enumerate(counts))


def _shown(group: RolloutGroup | None) -> list[str]:
    if group is None:
        return []
    rollout, score = group.rollouts[0], group.scores[0]
    text = (
        rollout.text if len(rollout.text) <= SHOWN_CHARACTERS else f"{rollout.text[:SHOWN_CHARACTERS]} ... (cut here)"
    )
    said = (
        f"accuracy {score.accuracy:g}, {rollout.num_tokens} tokens{', cut at the limit' if rollout.truncated else ''}"
    )
    return [f"  A response to {group.prompt.id} ({said}):", indented(text)]
