"""Weights by the names and in the shapes of a checkpoint's files, which are not always those in memory.

transformers 5 holds some weights in another form than its files do, such as all experts of a layer in one tensor. An
engine that loads weights, and anybody who reads a checkpoint, knows those of the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from lspo.errors import SettingError
from lspo.models.head import plain_model

Weights = Iterable[tuple[str, Tensor]]


def file_weights(model: Any, weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """Weights of a model as its files have them, where they are tied under the one name that files have.

    Converted a layer at a time: nothing else is held.

    Args:
        model: The transformers model that they are of; its own weights are not looked at.
        weights: By their names in memory, whole, those of a layer side by side.

    Raises:
        ValueError: For a PEFT-wrapped model, which no engine could load by these names.
    """
    refuse_adapters(model)
    tied = tied_weights(model)
    renamings, converters = _conversions(model)
    layer: dict[str, Tensor] = {}
    begun = ""
    for name, tensor in weights:
        if name in tied:
            continue
        if not renamings and not converters:
            yield name, tensor
            continue
        if layer and _layer(name) != begun:
            yield from _converted(model, layer)
            layer = {}
        if _is_converted(name, converters):
            # A copy: a gathered tensor is good until the next is asked for.
            begun, layer[name] = _layer(name), tensor.detach().clone()
        else:
            yield from _converted(model, {name: tensor})
    if layer:
        yield from _converted(model, layer)


def refuse_adapters(model: Any) -> None:
    """Refuses a PEFT-wrapped model, whose weights no checkpoint of transformers has.

    Raises:
        ValueError: If it is one.
    """
    if plain_model(model) is not model:
        raise SettingError(
            f"Expected weights of a transformers model, but {type(model).__name__} holds adapters beside them. "
            "`TransformersEngine` samples with those as they are; for another engine, or a folder, merge them first."
        )


def tied_weights(model: Any) -> dict[str, str]:
    """Names of weights that are others under a second name, which no file has; and those others' names."""
    return dict(getattr(plain_model(model), "all_tied_weights_keys", None) or {})


def _conversions(model: Any) -> tuple[list[Any], list[Any]]:
    """What transformers does to names and weights of this model when it writes them: renamings and conversions."""
    from transformers.core_model_loading import WeightConverter

    conversions = getattr(model, "_weight_conversions", None)
    if conversions is None:
        from transformers.conversion_mapping import get_model_conversion_mapping

        conversions = get_model_conversion_mapping(model, add_legacy=False)
    reverse = [conversion.reverse_transform() for conversion in conversions or ()]
    converters = [one for one in reverse if isinstance(one, WeightConverter)]
    return [one for one in reverse if one not in converters], converters


def _is_converted(name: str, converters: list[Any]) -> bool:
    return any(converter.rename_source_key(name)[1] is not None for converter in converters)


def _converted(model: Any, weights: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    from transformers.core_model_loading import revert_weight_conversion

    yield from revert_weight_conversion(model, weights).items()


def _layer(name: str) -> str:
    """The part of a name down to its first number, which is that of the layer."""
    pieces = name.split(".")
    return ".".join(pieces[: next((place for place, piece in enumerate(pieces) if piece.isdigit()), 0) + 1])
