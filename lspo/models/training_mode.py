"""A model in `train()` that computes what it computes in `eval()`: log-probs must be the same in every forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from lspo.errors import SettingError
from lspo.models.head import own_logits, plain_model


def train_as_evaluated(model: Any) -> Any:
    """Puts the model into `train()`, and sees to it that this changes no logit.

    Rates that act in training alone go to 0: those of dropout modules, and those that modules or the configuration
    have under a name with "drop". A module whose forward still draws random numbers while training, such as a router
    with noise, stays in `eval()` whatever mode is asked for.

    Raises:
        ValueError: If the model computes something else in training all the same.
    """
    model.eval()
    evaluated = own_logits(model)
    _switch_off_dropout(model, evaluated)
    model.train()
    device = next(model.parameters()).device
    state = _random_state(device)
    try:
        for module in _drawing(model, device):
            module.__class__ = _staying_in_eval(type(module))
            module.training = False
        trained = own_logits(model)
    finally:
        _set_random_state(device, state)
    size = max(float(evaluated.abs().max()), 1e-30)
    off = float((trained - evaluated).abs().max()) / size
    if not off <= 1e-2:
        raise SettingError(
            f"Expected {type(plain_model(model)).__name__} to compute the same in training as in evaluation once its "
            f"dropout is off, but its logits differ by {100 * off:.2g}%. It can't be trained on what it samples."
        )
    return model


def switch_off_dropout_modules(model: nn.Module) -> None:
    """Sets the rate of each dropout module to 0, those of adapters that were put in after loading included."""
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0


def _switch_off_dropout(model: Any, evaluated: Tensor) -> None:
    switch_off_dropout_modules(model)
    rates = list(_rates(model))
    for owner, name, _ in rates:
        setattr(owner, name, 0.0)
    if rates and not torch.equal(own_logits(model), evaluated):
        # One of them is no rate of dropout: it acts in evaluation too.
        for owner, name, value in rates:
            setattr(owner, name, value)


def _rates(model: Any) -> Iterator[tuple[Any, str, float]]:
    """Numbers other than 0 under a name with "drop", of modules and of the configuration with its parts."""
    owners: list[Any] = [module for module in model.modules() if not isinstance(module, _DropoutNd)]
    configs = [getattr(module, "config", None) for module in owners]
    while configs:
        config = configs.pop()
        if hasattr(config, "model_type") and not any(config is owner for owner in owners):
            owners.append(config)
            configs += list(vars(config).values())
    for owner in owners:
        for name, value in list(vars(owner).items()):
            if isinstance(value, float) and value and "drop" in name:
                yield owner, name, value


def _drawing(model: Any, device: torch.device) -> list[nn.Module]:
    """The modules whose own forward draws random numbers, apart from what those inside of them draw."""
    before = _random_state(device)
    own_logits(model)
    if torch.equal(_random_state(device), before):
        return []
    found: dict[int, nn.Module] = {}
    # Stack of running forwards, outermost first, each with the random state after the last forward that began or ended
    # inside it.
    under_way: list[tuple[nn.Module, Tensor]] = []

    def note_draws() -> Tensor:
        now = _random_state(device)
        if under_way and not torch.equal(now, under_way[-1][1]):
            found[id(under_way[-1][0])] = under_way[-1][0]
        return now

    def enter(module: nn.Module, *_: Any) -> None:
        under_way.append((module, note_draws()))

    def leave(module: nn.Module, *_: Any) -> None:
        now = note_draws()
        under_way.pop()
        if under_way:
            under_way[-1] = (under_way[-1][0], now)

    handles = [
        handle
        for module in model.modules()
        for handle in (module.register_forward_pre_hook(enter), module.register_forward_hook(leave))
    ]
    try:
        own_logits(model)
    finally:
        for handle in handles:
            handle.remove()
    return list(found.values())


def _random_state(device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.get_rng_state()
    return torch.get_device_module(device).get_rng_state(device)


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)


def _staying_in_eval(kind: type[nn.Module]) -> type[nn.Module]:
    """The same class, but one whose instances do not go into training mode; what is inside of them does."""

    def train(self: nn.Module, mode: bool = True) -> nn.Module:
        kind.train(self, mode)
        self.training = False
        return self

    return type(kind.__name__, (kind,), {"train": train, "__module__": kind.__module__, "__doc__": kind.__doc__})
