"""A run that ends when it has generated so many tokens."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lspo.collecting.report import CollectReport
from lspo.errors import SettingError
from lspo.lightning_modules.callbacks.base import RolloutCallback
from lspo.lightning_modules.callbacks.iteration_record import totals_of


class TokenBudget(RolloutCallback):
    """Ends the run with the first iteration by which `tokens` response tokens have been generated, evaluations apart.

    For comparisons at equal cost: methods that generate more tokens in an iteration get fewer iterations. The last
    iteration goes past the budget; a curve is read at the budget itself, between two evaluations, as `lspo compare`
    does. Set `trainer.max_epochs` to more iterations than the budget can pay for. A resumed run counts what the earlier
    parts have generated.

    Args:
        tokens: Response tokens of all ranks, kept or not.
        evaluations: Evaluate this often, evenly over the budget, in place of every `check_val_every_n_epoch`
            iterations: behind each iteration that passes another 1 / `evaluations` of the budget. None: leave it alone.

    Raises:
        ValueError: If either is below 1.
    """

    def __init__(self, tokens: int, evaluations: int | None = None) -> None:
        for name, value in (("tokens", tokens), ("evaluations", evaluations)):
            if value is not None and value < 1:
                raise SettingError(f"Expected `{name}` to be at least 1, but got {value}.")
        self.tokens, self.evaluations = tokens, evaluations
        self._spent = self._marks = 0
        self._due = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            # What a resumed run has is loaded after this.
            self._spent, self._marks, self._due = 0, 0, False

    def on_fit_start(self, trainer: Any, pl_module: LightningModule) -> None:
        # Of a run that goes on within an iteration.
        self._plan_evaluation(trainer)

    def on_collect_end(self, trainer: Trainer, pl_module: LightningModule, report: CollectReport) -> None:
        totals = totals_of(trainer)
        if totals is None:
            self._spent += report.num_tokens
        else:
            totals.add(report, trainer)
            self._spent = int(totals.values()["tokens"])
        if self.evaluations is not None:
            marks = min(self._spent * self.evaluations // self.tokens, self.evaluations)
            self._due, self._marks = marks > self._marks, marks
        self._plan_evaluation(trainer)

    def _plan_evaluation(self, trainer: Any) -> None:
        if self.evaluations is not None:
            # Lightning evaluates where the number of the epoch, counted from 1, is a multiple of this.
            trainer.check_val_every_n_epoch = 1 if self._due else trainer.current_epoch + 2

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._spent >= self.tokens:
            trainer.should_stop = True
            rank_zero_info(f"The run ends: {self._spent:,} of {self.tokens:,} tokens have been generated.")

    def state_dict(self) -> dict[str, Any]:
        return {"spent": self._spent, "marks": self._marks, "due": self._due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._spent, self._marks, self._due = state_dict["spent"], state_dict["marks"], state_dict["due"]
