"""From the gradients of a mini-batch to an optimizer step: its metrics, whether it is made, and its clipping."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lspo.errors import RunError
from lspo.lightning_modules.gradients import StepMetrics
from lspo.lightning_modules.sharding import Sharding
from lspo.types import RolloutBatch


class OptimizerStep:
    """What is known of the present step, and how many before it were skipped.

    Args:
        max_nonfinite: Steps in a row that may be skipped for a gradient that is not finite.
    """

    def __init__(self, max_nonfinite: int) -> None:
        self.metrics = StepMetrics()
        self.nonfinite_in_a_row = 0
        self._judged_at: tuple[int, int] | None = None
        self._before_judged = 0
        self.gradient_norm: Tensor | None = None
        self._max_nonfinite = max_nonfinite

    def begin(self) -> None:
        """Forgets what a run that was broken off, in this process, may have left of a step."""
        self.metrics = StepMetrics()
        self._judged_at = None

    def note_place(self, place: tuple[int, int]) -> None:
        """Remembers where the step is that is about to be finished: steps that Lightning counts, and updates made."""
        self._judged_at, self._before_judged = place, self.nonfinite_in_a_row

    def is_made(self, place: tuple[int, int]) -> bool:
        """True if the step that was finished last is in the weights, but is not counted by Lightning yet."""
        return self._judged_at is not None and place[0] == self._judged_at[0] and place[1] > self._judged_at[1]

    def nonfinite_at(self, place: tuple[int, int]) -> int:
        """Steps skipped in a row, as of the weights there are: a step that was finished and not made does not count."""
        return self._before_judged if place == self._judged_at else self.nonfinite_in_a_row

    def add(self, batch: RolloutBatch, metrics: Mapping[str, Tensor]) -> None:
        """Takes in a micro-batch: its metrics, its responses, and those of which no token counts."""
        masked = ~batch.response_mask.any(dim=1)
        responses = masked.new_tensor(len(batch), dtype=torch.float32)
        self.metrics.add({**metrics, "masked": masked.sum().float(), "responses": responses})

    def finish(
        self, sharding: Sharding, parameters: list[nn.Parameter], optimizer: Optimizer
    ) -> tuple[dict[str, Tensor], list[str]]:
        """The step's metrics, over all ranks, and each reason for which its gradient must be dropped.

        Raises:
            RuntimeError: If too many steps in a row have a gradient that is not finite.
        """
        values = self.metrics.take(sharding.reduce)
        masked, responses = values.pop("masked"), values.pop("responses")
        self.gradient_norm = norm = sharding.gradient_norm(parameters)
        values["train/masked_frac"] = masked / responses
        values["train/grad_norm"] = norm
        values["train/lr"] = torch.tensor(float(optimizer.param_groups[0]["lr"]), dtype=torch.float64)
        reasons = []
        if bool(masked == responses):
            # The gradient is zero, but momentum and weight decay would still move the weights.
            reasons.append("no response of its mini-batch counts, as all are masked")
            values = {name: value for name, value in values.items() if not name.endswith(("_min", "_max"))}
        if not self._is_finite(norm):
            reasons.append(f"the gradient norm is {norm.item()}")
        values["train/nonfinite_steps_in_a_row"] = torch.tensor(self.nonfinite_in_a_row, dtype=torch.float64)
        return values, reasons

    def _is_finite(self, norm: Tensor) -> bool:
        if bool(norm.isfinite()):
            self.nonfinite_in_a_row = 0
            return True
        self.nonfinite_in_a_row += 1
        if self.nonfinite_in_a_row > self._max_nonfinite:
            raise RunError(
                f"The gradient was not finite in {self.nonfinite_in_a_row} optimizer steps in a row. Lower the "
                "learning rate, clip gradients (`gradient_clip_val`), or train in 'bf16-mixed' instead of 16 bits."
            )
        return False

    def clip(self, optimizer: Optimizer, value: float, algorithm: str | None) -> None:
        """Clips gradients by "value", or by the norm of all of them, on all ranks."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, value)
        elif self.gradient_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, value, self.gradient_norm)
