"""What became of the rows of a data set, counted and told."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from lspo.errors import SettingError
from lspo.problems.base import Note

ROWS_NAMED = 5


@dataclass
class Tally:
    """Rows of one reading.

    Args:
        rows: Rows looked at.
        used: Problems yielded.
        incomplete: Rows without a problem or an answer.
        first_incomplete: Numbers of the first of them.
        long_answers: Rows left out for the length of their answers.
        repeated: Rows whose prompt had come before, with the same answer.
        conflicting: Rows whose prompt had come before, with another answer.
    """

    rows: int = 0
    used: int = 0
    incomplete: int = 0
    first_incomplete: list[int] = field(default_factory=list)
    long_answers: int = 0
    repeated: int = 0
    conflicting: int = 0
    _seen: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    def add_incomplete(self, number: int) -> None:
        self.incomplete += 1
        if len(self.first_incomplete) < ROWS_NAMED:
            self.first_incomplete.append(number)

    def came_before(self, prompt: str, answer: str) -> bool:
        """Whether this prompt has come before; whether with the same answer is counted."""
        key, value = (blake2b(text.strip().encode(), digest_size=12).digest() for text in (prompt, answer))
        first = self._seen.get(key)
        if first is None:
            self._seen[key] = value
        elif first == value:
            self.repeated += 1
        else:
            self.conflicting += 1
        return first is not None

    def notes(self, *, deduplicated: bool) -> list[Note]:
        """What was left out, and what should not be there."""
        notes = []
        if self.incomplete:
            rows = ", ".join(map(str, self.first_incomplete))
            notes.append(Note(f"Left out {self.incomplete} of {self.rows} rows without a problem or answer: {rows}."))
        if self.long_answers:
            notes.append(Note(f"Left out {self.long_answers} of {self.rows} rows for the length of their answers."))
        again = self.repeated + self.conflicting
        if again and deduplicated:
            notes.append(Note(f"Dropped {again} of {self.rows} rows that repeat an earlier prompt."))
        elif again:
            notes.append(Note(f"{again} of {self.rows} rows repeat an earlier prompt. `deduplicate=True` drops them."))
        if self.conflicting:
            kept = "the first answer is kept" if deduplicated else "both are used"
            text = (
                f"{self.conflicting} of {self.rows} rows have the prompt of an earlier row and another answer; {kept}."
            )
            notes.append(Note(text, warn=True))
        return notes

    def check(self, path: str) -> None:
        """Raises unless there was something to use.

        Raises:
            ValueError: If there was not; the message says where the rows went.
        """
        if self.used:
            return
        if not self.rows:
            raise SettingError(f"Expected at least one problem in {path}, but it has no rows.")
        raise SettingError(
            f"Expected at least one problem in {path}, but none of its {self.rows} rows is left: "
            f"{self.incomplete} lack a problem or an answer, {self.long_answers} have answers that are too long."
        )
