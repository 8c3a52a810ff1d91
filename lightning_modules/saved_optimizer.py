"""What a resumed run takes from the optimizer of its checkpoint, which is more than one may think."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch.optim import Optimizer

from lspo.errors import SettingError

CYCLE_OF_RATE, CYCLE_OF_MOMENTUM = {"max_lr", "min_lr"}, {"max_momentum", "base_momentum"}
"""What schedules that go up and down write into the optimizer's groups."""
NO_SETTINGS = {"params", "param_names", "initial_lr"} | CYCLE_OF_RATE | CYCLE_OF_MOMENTUM


def saved_settings(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the checkpoint's optimizer; none where it holds no optimizer, as of a folder of parts."""
    state: Mapping[str, Any] = next(iter(checkpoint.get("optimizer_states") or ()), {})
    groups: Sequence[Mapping[str, Any]] = state.get("param_groups", ())
    if not groups:
        return {}
    settings = {name: value for name, value in groups[0].items() if name not in NO_SETTINGS}
    # What a schedule has made of the rate is no setting; nor is what it has made of momentum, if it cycles that.
    if "initial_lr" in groups[0]:
        settings["lr"] = groups[0]["initial_lr"]
    if groups[0].keys() & (CYCLE_OF_RATE | CYCLE_OF_MOMENTUM):
        for name in ("lr", *(("momentum", "betas") if groups[0].keys() & CYCLE_OF_MOMENTUM else ())):
            settings.pop(name, None)
    return settings


def check_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Refuses another optimizer than the checkpoint's, and says which of its settings go on in place of the present.

    Raises:
        ValueError: If each of the two has settings that the other lacks.
    """
    if not saved:
        return
    given = optimizer.defaults
    # Settings that one alone lacks may have come with another version of torch.
    if given.keys() - saved.keys() and saved.keys() - given.keys():
        raise SettingError(
            f"Expected the optimizer that the checkpoint was written with, which has the settings {', '.join(saved)}, "
            f"but got {type(optimizer).__name__} with {', '.join(given)}. To train on with another, start a new run "
            "from the weights: pass the folder that `lspo export` makes of the checkpoint as `model`."
        )
    changed = [name for name, value in given.items() if name in saved and not _equal(saved[name], value)]
    if changed:
        told = ", ".join(f"{name}={_plain(saved[name])} and not {_plain(given[name])}" for name in changed)
        rank_zero_warn(
            f"The run goes on with the settings of the checkpoint's optimizer: {told}. To train on with others, start "
            "a new run from the weights: pass the folder that `lspo export` makes of the checkpoint as `model`."
        )


def _equal(one: Any, other: Any) -> bool:
    return bool(_plain(one) == _plain(other))


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return list(value) if isinstance(value, tuple) else value
