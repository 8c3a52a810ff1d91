"""What the study reads of a run: one line for each iteration and each evaluation, by kind of prompt."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from length_study.tasks import KINDS
from lspo.lightning_modules import RolloutCallback
from lspo.lightning_modules.callbacks.problem_results import ProblemResult

FILE = "account.jsonl"


def kind_of(prompt_id: str, prompt: str) -> str:
    """The kind that the id begins with; of the built-in task, by its number of digits."""
    name = prompt_id.split("-")[0]
    if name in KINDS:
        return name
    digits = sum(letter.isdigit() for letter in prompt)
    return "short" if digits < 7 else "middle" if digits < 12 else "long"


class Account(RolloutCallback):
    """Writes `account.jsonl` into the folder that the run was started in.

    Processor seconds are those of collecting and training; evaluations are not in them.
    """

    def __init__(self) -> None:
        self.tokens, self.prompts, self.spent = 0, 0, 0.0
        self.started = 0.0
        self.row: dict[str, Any] = {}
        self.results: list[tuple[ProblemResult, int]] = []

    def write(self, row: dict[str, Any]) -> None:
        with Path(FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
        self.started = time.process_time()

    def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
        stats = report.stats
        self.tokens += report.num_tokens
        self.prompts += len(stats)
        kinds = [kind_of(one.prompt.id, one.prompt.text) for one in report.draws]
        lengths, accuracy = stats.lengths.double().mean(dim=1), stats.accuracy.double().mean(dim=1)
        self.row = {
            "iteration": report.plan.iteration,
            "prompts": len(stats),
            "responses": stats.lengths.numel(),
            "tokens": report.num_tokens,
            "trained": len(report.groups),
            "kinds": by_kind(kinds, stats.mixed, report.chosen),
            "pool": [
                [kind, round(float(length), 3), round(float(right), 4)]
                for kind, length, right, mixed in zip(kinds, lengths, accuracy, stats.mixed.tolist(), strict=True)
                if mixed
            ],
        }

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.is_last_batch:
            own = time.process_time() - self.started
            self.spent += own
            self.write({**self.row, "seconds": own})

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.results = []

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        for group in batch.groups:
            shortcuts = sum(rollout.text.startswith("?") for rollout in group.rollouts)
            self.results.append((ProblemResult.of(group), shortcuts))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        kinds = [kind_of(one.prompt_id, one.prompt) for one, _ in self.results]
        right = torch.tensor([one.accuracy for one, _ in self.results], dtype=torch.float64)
        short = torch.tensor([count / one.responses for one, count in self.results], dtype=torch.float64)
        each = {kind: torch.tensor([one == kind for one in kinds]) for kind in dict.fromkeys(kinds)}
        self.write({
            "tokens_so_far": self.tokens,
            "prompts_so_far": self.prompts,
            "seconds_so_far": self.spent,
            "held_out": float(right.mean()),
            "by_kind": {kind: float(right[mask].mean()) for kind, mask in each.items()},
            "shortcuts": {kind: float(short[mask].mean()) for kind, mask in each.items()},
        })  # fmt: skip


def by_kind(kinds: Iterable[str], mixed: torch.Tensor, chosen: torch.Tensor) -> dict[str, list[int]]:
    """Of each kind: groups generated, of them mixed, of them trained on."""
    found: dict[str, list[int]] = {}
    for kind, is_mixed, is_chosen in zip(kinds, mixed.tolist(), chosen.tolist(), strict=True):
        row = found.setdefault(kind, [0, 0, 0])
        for place, counts in enumerate((True, is_mixed, is_chosen)):
            row[place] += counts
    return found
