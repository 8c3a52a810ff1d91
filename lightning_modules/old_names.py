"""Metrics by the names that they had before: for `monitor`, and for callbacks that read `trainer.callback_metrics`."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import rank_zero_deprecation

from lspo.metrics import present_name


class NamedMetrics(dict[str, Any]):
    """`trainer.callback_metrics`, in which a metric is found by its old name too. Listed are the present ones alone."""

    def __missing__(self, name: str) -> Any:
        new = self._present(name)
        if new is None:
            raise KeyError(name)
        return self[new]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and self._present(name) is not None)

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def _present(self, name: str) -> str | None:
        new = present_name(name)
        if new is None or not super().__contains__(new):
            return None
        rank_zero_deprecation(f"The metric {name!r} is now {new!r}. The old name will not work in the next release.")
        return new


def understand_old_names(trainer: Any) -> None:
    """Has the Trainer's metrics understand old names, from the start of training on: before it, they are reset."""
    connector = trainer._logger_connector
    connector._callback_metrics = NamedMetrics(connector._callback_metrics)
