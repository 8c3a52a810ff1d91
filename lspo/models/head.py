"""From hidden states to logits: where a model's backbone is, and what it does behind its output layer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from lspo.errors import SettingError
from lspo.models.layer_head import LayerHead
from lspo.types import TokenIds

PATHS = ("model", "decoder", "language_model", "transformer")
"""Where a backbone may be, inside of what a model names as its own."""
ATTRIBUTE = "_lspo_head"


@dataclass(frozen=True)
class Head:
    """How a model's logits are computed from the output of its backbone.

    logits = cap * tanh(layer(hidden) / divisor * factor / cap), as far as each is set.

    Args:
        backbone: Attribute path from the model to the module whose `last_hidden_state` goes into the output layer.
        divisor: Of the logits; None: nothing.
        factor: On the logits; None: nothing.
        cap: Soft cap of the logits; None: nothing.
        own: True if nothing known here gives the model's logits: its own forward is used, which holds them whole.
    """

    backbone: str = ""
    divisor: float | None = None
    factor: float | None = None
    cap: float | None = None
    own: bool = False

    @property
    def changes(self) -> bool:
        """True if something is done to the output of the layer."""
        return bool(self.divisor or self.factor or self.cap)

    def __call__(self, logits: Tensor) -> Tensor:
        """What is done to the output of the layer."""
        if self.divisor:
            logits = logits / self.divisor
        if self.factor:
            logits = logits * self.factor
        if self.cap:
            logits = torch.tanh(logits / self.cap) * self.cap
        return logits


def plain_model(model: Any) -> Any:
    """The transformers model inside of a PEFT wrapper, whose layers hold the adapters; any other model as it is.

    Raises:
        ValueError: If the wrapper puts tokens of its own before the prompt.
    """
    if not hasattr(model, "get_base_model"):
        return model
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        raise SettingError(
            f"Expected adapters inside of the model's layers, such as LoRA's, but {type(model).__name__} puts tokens "
            "of its own before the prompt. Use LoRA, or train the whole model."
        )
    return model.get_base_model()


def head_of(model: Any) -> Head:
    """How the model's logits are computed; found at the first call, which needs whole weights, and kept with it."""
    found = getattr(model, ATTRIBUTE, None)
    if found is None:
        found = find_head(model)
        setattr(model, ATTRIBUTE, found)
    return found


def last_hidden_state(model: Any, token_ids: TokenIds, *, skipped: int = 0) -> Tensor:
    """(N, L - skipped, H) hidden states behind the last layer, for rows padded on the right.

    Needs no attention mask: under causal attention nothing looks to the right, where the padding is. Of a model whose
    head is its `own`, these are the logits themselves.

    Args:
        model: A transformers model.
        token_ids: What it reads.
        skipped: Places at the start of each row of which nothing is asked.
    """
    head = head_of(model)
    if head.own:
        plain, kept = plain_model(model), token_ids.shape[1] - skipped
        fewer = {"logits_to_keep": kept} if "logits_to_keep" in signature(type(plain).forward).parameters else {}
        return plain(input_ids=token_ids, use_cache=False, **fewer).logits[:, -kept:]
    hidden = _at(plain_model(model), head.backbone)(input_ids=token_ids, use_cache=False).last_hidden_state
    return hidden[:, skipped:]


def output_head(model: Any) -> LayerHead:
    """Hidden states -> logits, with the scaling and the soft cap that the model applies."""
    head = head_of(model)
    if head.own:
        return LayerHead(nn.Identity())
    layer = plain_model(model).get_output_embeddings()
    return LayerHead(layer, behind=head if head.changes else None)


@torch.no_grad()
def own_logits(model: Any, token_ids: TokenIds | None = None) -> Tensor:
    """The logits of the model's own forward, in float32, for a few tokens unless others are given."""
    plain = plain_model(model)
    return plain(input_ids=few_tokens(plain) if token_ids is None else token_ids, use_cache=False).logits.float()


def few_tokens(model: Any) -> TokenIds:
    """(2, 6) token ids to try a model on, on its device."""
    device = next(model.parameters()).device
    return (torch.arange(1, 13, device=device) % model.config.get_text_config().vocab_size).reshape(2, 6)


@torch.no_grad()
def find_head(model: Any) -> Head:
    """Compares what is known of heads with the model's own logits on a few tokens, and measures a constant factor.

    Warns if nothing fits: the model's own forward is then used, whose logits are in memory whole.
    """
    plain = plain_model(model)
    was_training = plain.training
    plain.eval()
    try:
        token_ids = few_tokens(plain)
        own = own_logits(plain, token_ids)
        layer = plain.get_output_embeddings()
        limit = 1e-2 if next(plain.parameters()).element_size() <= 2 else 1e-4
        best = _best(_candidates(plain, layer, token_ids, own), own, limit)
    finally:
        plain.train(was_training)
    if best is not None:
        return best
    warnings.warn(
        f"{type(plain).__name__} computes its logits in a way that is not known here, so its own forward is used. All "
        f"logits of a micro-batch are then in memory: {4 * own.shape[-1] / 1024:.0f} KiB per token, and the same for "
        "gradients. `logits_chunk_tokens` has no effect for this model.",
        stacklevel=2,
    )
    return Head(own=True)


def _best(candidates: Iterator[tuple[Head, Tensor]], own: Tensor, limit: float) -> Head | None:
    """The first that gives the model's logits to rounding; `limit` is what rounding may be, of the largest logit."""
    size = own.abs().max()
    tried: list[tuple[float, Head]] = []
    for head, logits in candidates:
        off = float((head(logits) - own).abs().max() / size)
        if off <= 1e-5:
            return head
        tried.append((off, head))
    least = min((off for off, _ in tried), default=1.0)
    return next((head for off, head in tried if off <= 2 * least), None) if least <= limit else None


def _candidates(model: Any, layer: Any, token_ids: TokenIds, own: Tensor) -> Iterator[tuple[Head, Tensor]]:
    """Heads that may be the model's, each with the output of its layer."""
    for path, backbone in _backbones(model) if layer is not None else ():
        try:
            logits = layer(backbone(input_ids=token_ids, use_cache=False).last_hidden_state).float()
        except (AttributeError, TypeError, RuntimeError, ValueError):
            continue  # no backbone of this head
        if logits.shape != own.shape:
            continue
        for head in _known_heads(model, logits, own):
            yield replace(head, backbone=path), logits


def _backbones(model: Any) -> Iterator[tuple[str, nn.Module]]:
    """Modules that may be the model's backbone, by their path: what it names so, and what is in there."""
    named = [getattr(model, "base_model", None), model.get_decoder() if hasattr(model, "get_decoder") else None]
    paths = {id(module): name for name, module in model.named_modules()}
    seen = {id(model)}
    for first in [*named, model]:
        for module in (first, *(getattr(first, name, None) for name in PATHS)):
            if isinstance(module, nn.Module) and id(module) in paths and id(module) not in seen:
                seen.add(id(module))
                yield paths[id(module)], module


def _known_heads(model: Any, logits: Tensor, own: Tensor) -> Iterator[Head]:
    """What the configuration says, nothing at all, and a constant that the logits themselves show."""
    config = model.config.get_text_config()
    known = Head(
        divisor=_number(config, "logits_scaling"),  # Granite
        factor=_number(config, "logit_scale"),  # Cohere
        cap=_number(config, "final_logit_softcapping"),  # Gemma 2
    )
    yield known
    yield Head(cap=known.cap)
    yield Head()
    for cap in (None, *(value for name, value in _numbers(config) if "cap" in name and value > 0)):
        # What the cap has done is undone before a factor is looked for.
        seen = own if cap is None else torch.atanh((own / cap).clamp(-1 + 1e-6, 1 - 1e-6)) * cap
        measured = float((seen.double() * logits.double()).sum() / logits.double().square().sum())
        yield Head(factor=_exact(measured, config), cap=cap)
        yield Head(factor=measured, cap=cap)


def _exact(measured: float, config: Any) -> float:
    """The number of the configuration that a measured one is, or the inverse of one, if any is that near."""
    numbers = [1.0, *(value for _, value in _numbers(config) if value)]
    return min(
        [x for value in numbers for x in (value, 1 / value) if abs(x - measured) <= 1e-2 * abs(measured)] or [measured],
        key=lambda x: abs(x - measured),
    )


def _numbers(config: Any) -> Iterator[tuple[str, float]]:
    for name, value in vars(config).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


def _number(config: Any, name: str) -> float | None:
    value = getattr(config, name, None)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _at(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = getattr(model, name)
    return model
