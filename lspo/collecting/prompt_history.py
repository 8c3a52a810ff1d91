"""What became of each prompt so far: 16 bytes a prompt, for logs and for rules that look back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lspo.errors import SettingError
from lspo.sampling.base import GroupStats

COLUMNS = {
    "visits": torch.int32, "iteration": torch.int32, "accuracy": torch.float32, "length": torch.float32,
}  # fmt: skip


class PromptHistory:
    """Visits of every prompt, and of the last one its iteration, accuracy and mean response tokens.

    Args:
        num_prompts: How many there are; a prompt is named by its place among them.

    Example:
        >>> PromptHistory(3).metrics()
        {'prompts/seen_frac': 0.0}
    """

    def __init__(self, num_prompts: int) -> None:
        self.num_prompts = num_prompts
        self._columns = {name: torch.zeros(num_prompts, dtype=dtype) for name, dtype in COLUMNS.items()}

    def __getattr__(self, name: str) -> Tensor:
        if name in COLUMNS:
            return self._columns[name]
        raise AttributeError(name)

    def add(self, places: Sequence[int] | Tensor, stats: GroupStats, iteration: int) -> None:
        """Takes in an iteration's groups, kept or not; of a prompt drawn twice, the later counts as the last."""
        index = torch.as_tensor(places, dtype=torch.int64)
        self._columns["visits"].index_add_(0, index, torch.ones(len(index), dtype=torch.int32))
        rows = {"accuracy": stats.accuracy.mean(dim=1), "length": stats.lengths.mean(dim=1)}
        self._columns["iteration"][index] = iteration
        for name, values in rows.items():
            # By numpy, which promises that the last of equal places is the one that stays.
            self._columns[name].numpy()[index.numpy()] = values.to(COLUMNS[name]).numpy()

    def metrics(self) -> dict[str, float]:
        """Share of the prompts seen; of those, shares all right and all wrong at their last visit, and mean visits."""
        seen = self._columns["visits"] > 0
        count = int(seen.sum())
        values = {"prompts/seen_frac": count / max(self.num_prompts, 1)}
        if count:
            accuracy = self._columns["accuracy"][seen]
            values["prompts/all_right_frac"] = float((accuracy == 1).sum()) / count
            values["prompts/all_wrong_frac"] = float((accuracy == 0).sum()) / count
            values["prompts/visits_mean"] = float(self._columns["visits"][seen].double().mean())
        return values

    def state_dict(self) -> dict[str, Any]:
        return {name: column.clone() for name, column in self._columns.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a saved history.

        Raises:
            ValueError: If it is one of another number of prompts.
        """
        if len(state["visits"]) != self.num_prompts:
            raise SettingError(
                f"Expected a history of {self.num_prompts} prompts, but the checkpoint's has {len(state['visits'])}."
            )
        self._columns = {name: state[name].clone() for name in COLUMNS}
