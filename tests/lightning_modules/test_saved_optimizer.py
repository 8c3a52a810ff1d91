"""What a resumed run says of its optimizer."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

from lspo.lightning_modules.saved_optimizer import check_optimizer, saved_settings


def make(kind: type[Optimizer], **settings: Any) -> Optimizer:
    return kind([torch.nn.Parameter(torch.zeros(2))], **settings)


def saved(optimizer: Optimizer) -> dict[str, Any]:
    return saved_settings({"optimizer_states": [optimizer.state_dict()]})


def test_another_optimizer_is_refused() -> None:
    for kind, before in ((SGD, AdamW), (AdamW, SGD)):
        with pytest.raises(ValueError, match=rf"settings lr, .*, but got {kind.__name__} with lr, "):
            check_optimizer(make(kind, lr=0.1), saved(make(before, lr=0.1)))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"lr": 0.2}, r"lr=0\.1 and not 0\.2\."),
        ({"lr": 0.1, "betas": (0.5, 0.9)}, r"betas=\[0\.9, 0\.999\] and not \[0\.5, 0\.9\]\."),
        ({"lr": torch.tensor(0.5)}, r"lr=0\.1 and not 0\.5\."),
    ],
)
def test_settings_that_do_not_count_are_told(settings: dict[str, Any], told: str) -> None:
    with pytest.warns(UserWarning, match=rf"goes on with the settings of the checkpoint's optimizer: {told}"):
        check_optimizer(make(AdamW, **settings), saved(make(AdamW, lr=0.1)))
    with pytest.warns(UserWarning, match="decoupled_weight_decay=True and not False"):
        check_optimizer(make(Adam, lr=0.1, weight_decay=0.01), saved(make(AdamW, lr=0.1)))


def test_a_schedule_is_no_change() -> None:
    optimizer = make(AdamW, lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_optimizer(make(AdamW, lr=0.1), saved(optimizer))
    del schedule


@pytest.mark.parametrize(("kind", "settings"), [(AdamW, {"betas": (0.8, 0.999)}), (SGD, {"momentum": 0.3})])
def test_nor_is_a_schedule_that_goes_up_and_down(kind: type[Optimizer], settings: dict[str, Any]) -> None:
    """It sets a rate and a momentum of its own, and writes more names into the groups."""
    optimizer = make(kind, lr=0.1, **settings)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_optimizer(make(kind, lr=0.1, **settings), saved(optimizer))
    del schedule


def test_nothing_is_said_of_what_is_not_there_or_came_with_another_torch() -> None:
    settings = saved(make(AdamW, lr=0.1))
    del settings["decoupled_weight_decay"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_optimizer(make(AdamW, lr=0.1), settings)
        for checkpoint in ({}, {"optimizer_states": []}, {"optimizer_states": [{"state": {}}]}):
            assert saved_settings(checkpoint) == {}
            check_optimizer(make(AdamW, lr=0.1), {})
