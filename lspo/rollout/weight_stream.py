"""A policy's weights on their way to another engine, and a sum by which to tell that they arrived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

EMBEDDING = "embed_tokens.weight"
HEAD = "lm_head.weight"

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Fingerprint:
    """Sum of a tensor's bits, read as integers, modulo 2**64; and how many elements it has.

    Exact, whatever the order of summation. Parts laid side by side in one larger tensor, as engines lay the projections
    of queries, keys and values, have the sum of their fingerprints; padding with zeros adds nothing to `bits`.
    """

    bits: int
    numel: int

    def __add__(self, other: Fingerprint) -> Fingerprint:
        return Fingerprint((self.bits + other.bits) % 2**64, self.numel + other.numel)


def fingerprint(tensor: Tensor) -> Fingerprint:
    """The fingerprint of one tensor.

    Example:
        >>> parts = torch.tensor([1.0, -2.0]), torch.tensor([0.5])
        >>> fingerprint(torch.cat(parts)) == fingerprint(parts[0]) + fingerprint(parts[1])
        True
    """
    flat = tensor.detach().contiguous().flatten()
    return Fingerprint(int(flat.view(_BITS[flat.element_size()]).sum(dtype=torch.int64)) % 2**64, flat.numel())


@dataclass
class WeightStream:
    """Iterates over a policy's weights as an engine takes them, and keeps their fingerprints if asked.

    Weights are cast to the engine's type first. Where input embedding and output head are one tensor, the head is named
    too: an engine that keeps a packed copy of its head would leave that copy as it was, and nothing would say so.

    Args:
        weights: (name in a checkpoint's files, whole tensor), as `PolicyHandle.full_weights` gives them.
        tied: Second names of some of them, as `PolicyHandle.tied_weights` gives them: sent too.
        dtype: The engine's; None leaves weights as they are.
        with_fingerprints: Take the fingerprint of each weight that passes.
        fingerprints: Those, by name.
    """

    weights: Iterable[tuple[str, Tensor]]
    dtype: torch.dtype | None = None
    with_fingerprints: bool = False
    tied: Mapping[str, str] = field(default_factory=dict)
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        embedding: Tensor | None = None
        has_head = False
        for name, tensor in self.weights:
            cast = tensor.detach()
            if self.dtype is not None and cast.is_floating_point():
                cast = cast.to(self.dtype)
            if name.endswith(EMBEDDING):
                embedding = cast
            for one in (name, *(second for second, first in self.tied.items() if first == name)):
                has_head = has_head or one.endswith(HEAD)
                yield self._passed(one, cast)
        if embedding is not None and not has_head:
            yield self._passed(HEAD, embedding)

    def plain_fingerprints(self) -> dict[str, list[int]]:
        """Those, for a message; a stream that takes none has an empty one."""
        return {name: [one.bits, one.numel] for name, one in self.fingerprints.items()}

    def _passed(self, name: str, tensor: Tensor) -> tuple[str, Tensor]:
        if self.with_fingerprints:
            self.fingerprints[name] = fingerprint(tensor)
        return name, tensor


@dataclass(frozen=True)
class Comparison:
    """What came of comparing an engine's weights with those sent.

    Args:
        compared: Engine weights that could be compared.
        skipped: Those that could not: packed for a kernel, quantised, or of a kind that processes keep in part twice.
        differing: Names of those that differ.
    """

    compared: int
    skipped: int
    differing: tuple[str, ...]


def compare(
    sent: Mapping[str, Fingerprint],
    held: Sequence[Mapping[str, Fingerprint]],
    *,
    packed: Mapping[str, Sequence[str]],
) -> Comparison:
    """Compares by name what was sent with what an engine holds.

    Args:
        sent: Fingerprints by transformers name.
        held: Fingerprints by the engine's name, of each process that shares the engine. The parts of a weight that is
            cut have its fingerprint as their sum; of one that is not, each process has all of it.
        packed: The engine's module names that stand for several of transformers', and for which.
    """
    differing = []
    compared = skipped = 0
    for name in held[0]:
        parts = [sent.get(part) for part in _part_names(name, packed)]
        known = [part for part in parts if part is not None]
        wanted = sum(known[1:], known[0]) if known and len(known) == len(parts) else None
        equal = None if wanted is None else _equal(wanted, [process.get(name) for process in held], name)
        if equal is None:
            skipped += 1
            continue
        compared += 1
        if not equal:
            differing.append(name)
    return Comparison(compared, skipped, tuple(differing))


def _equal(wanted: Fingerprint, found: Sequence[Fingerprint | None], name: str) -> bool | None:
    """Whether that was sent; None if it can't be told, as of what is packed for a kernel or kept in part twice."""
    present = [one for one in found if one is not None]
    if len(present) < len(found):
        return None
    total = sum(present[1:], present[0])
    if total.numel == wanted.numel:
        return total.bits == wanted.bits
    whole = all(one.bits == wanted.bits for one in present)
    if all(one.numel == wanted.numel for one in present):
        return whole
    if name.endswith((EMBEDDING, HEAD)) and total.numel > wanted.numel:
        # A vocabulary that is padded with zeros, cut or not.
        return whole or total.bits == wanted.bits
    return None


def _part_names(name: str, packed: Mapping[str, Sequence[str]]) -> list[str]:
    modules = name.split(".")
    for place, module in enumerate(modules):
        if module in packed:
            return [".".join([*modules[:place], part, *modules[place + 1 :]]) for part in packed[module]]
    return [name]
