"""Text that knows where the text of a special token, as `<|im_end|>`, is that token."""

from __future__ import annotations

from typing import Any

Span = tuple[int, int]
"""First character, and the one behind the last."""


class MarkedText(str):
    """Text in which special tokens may be written. In a plain `str` there are none: it is what a file or a model says.

    Args:
        text: The text.
        special: Where special tokens are meant; None: everywhere.

    Example:
        >>> MarkedText("<s>1 + 1<s>", special=((0, 3),)).special
        ((0, 3),)
    """

    special: tuple[Span, ...]

    def __new__(cls, text: str, special: tuple[Span, ...] | None = None) -> MarkedText:
        made = super().__new__(cls, text)
        made.special = ((0, len(text)),) if special is None else special
        return made

    def followed_by(self, words: str) -> MarkedText:
        """With words behind it in which special tokens are meant."""
        return MarkedText(self + words, (*self.special, (len(self), len(self) + len(words))))

    def __getnewargs__(self) -> Any:
        return str(self), self.special


def special_spans(text: str) -> tuple[Span, ...]:
    """Where special tokens are meant in a text.

    Example:
        >>> special_spans("<s>"), special_spans(MarkedText("<s>"))
        ((), ((0, 3),))
    """
    return text.special if isinstance(text, MarkedText) else ()


def filled_in(template: str, place: str, text: str) -> MarkedText:
    """A template with `text` wherever it names `place`. Special tokens are meant in the template's own words.

    Example:
        >>> filled_in("<s>{prompt}</s>", "{prompt}", "1 + 1").special
        ((0, 3), (8, 12))
    """
    made, spans = "", []
    for number, words in enumerate(template.split(place)):
        if number:
            spans += [(start + len(made), end + len(made)) for start, end in special_spans(text)]
            made += text
        if words:
            spans.append((len(made), len(made) + len(words)))
        made += words
    return MarkedText(made, tuple(spans))
