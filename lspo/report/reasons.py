"""What became of a group of responses, in words and colours."""

from __future__ import annotations

from collections.abc import Iterable

KNOWN = {
    "trained": ("trained on", "r-trained"),
    "kept": ("kept", "r-trained"),
    "carried": ("carried over", "r-carried"),
    "surplus": ("surplus", "r-surplus"),
    "undecided": ("undecided", "r-other"),
    "length_short": ("too short", "r-above"),
    "length_middle": ("middle length", "r-middle"),
    "length_long": ("long", "r-above"),
    "length_above_max": ("too long", "r-above"),
    "accuracy_low": ("too many wrong", "r-wrong"),
    "accuracy_high": ("too many right", "r-right"),
    "all_right": ("all right", "r-right"),
    "all_wrong": ("all wrong", "r-wrong"),
    "no_length": ("without a length", "r-other"),
}
"""Reasons of this library's selectors, in the order in which they are stacked: label and class of the colour."""


def label_of(reason: str) -> str:
    """A reason in words.

    Example:
        >>> label_of("length_middle"), label_of("my_filter")
        ('middle length', 'my filter')
    """
    return KNOWN[reason][0] if reason in KNOWN else reason.replace("_", " ")


def colour_of(reason: str) -> str:
    return KNOWN[reason][1] if reason in KNOWN else "r-other"


def in_order(reasons: Iterable[str]) -> list[str]:
    """Reasons in the order of the stack; those of a user's own selector last."""
    known = list(KNOWN)
    return sorted(set(reasons), key=lambda reason: (known.index(reason) if reason in KNOWN else len(known), reason))
