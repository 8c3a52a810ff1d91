"""The sets that `lspo evaluate --data` takes by name, with the reward and the question that fit them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lspo.errors import MissingFileError, SettingError

BOXED = r"Let's think step by step and output the final answer within \boxed{}."
"""The instruction of the published recipes here."""
FILES = (".jsonl", ".json", ".parquet", ".csv")


@dataclass(frozen=True)
class Known:
    """A set by name.

    Args:
        kind: Its class in `lspo.problems`.
        settings: Those of the class.
        reward: Name of the reward that fits, a key of `REWARDS`.
        max_response_tokens: Where `--max-response-tokens` is left out.
        asks: Whether its class takes `instruction` and `chat`.
    """

    kind: str
    settings: dict[str, Any]
    reward: str = "math"
    max_response_tokens: int = 1024
    asks: bool = True


KNOWN = {
    "gsm8k": Known("GSM8K", {"split": "test"}, reward="gsm8k"),
    "math": Known("MATH", {"split": "test"}),
    "math500": Known("MATH500", {}),
    "aime24": Known("AIME24", {}),
    "aime25": Known("AIME25", {}),
    "olympiad_bench": Known("OlympiadBench", {}),
    "minerva_math": Known("MinervaMath", {}),
    # As the quickstart holds out.
    "running_sum": Known(
        "RunningSumProblems", {"size": 256, "seed": 2}, reward="exact", max_response_tokens=24, asks=False
    ),
}
REWARDS = {"math": "MathReward", "gsm8k": "GSM8KReward", "exact": "ExactMatchReward"}


@dataclass(frozen=True)
class Data:
    """What is evaluated on: the problems, the reward, its name, and how long responses may be."""

    name: str
    problems: Any
    reward: Any
    max_response_tokens: int


def data_of(given: Any, *, has_chat_template: Callable[[], bool]) -> Data:
    """The data that the flags name.

    Args:
        given: The flags `data`, `reward`, `limit`, `instruction`, `chat`, `path`, `prompt_column`, `answer_column`.
        has_chat_template: Asked only where problems may be asked either way.

    Raises:
        MissingFileError: If it is a file that is not there.
        SettingError: If it is neither a name nor a file.
    """
    known = KNOWN.get(given.data)
    if known is None:
        name, known = _of_a_file(given)
    else:
        name = given.data
    settings = dict(known.settings)
    if given.limit is not None:
        settings["size"] = min(given.limit, settings.get("size", given.limit))
    if known.asks:
        settings |= _asked(given, has_chat_template)
    if given.path is not None:
        if known.kind == "RunningSumProblems" or "path" in known.settings:
            raise SettingError("Expected --path with the name of a published set, as --data gsm8k --path test.jsonl.")
        settings["path"] = given.path
    import lspo.problems
    import lspo.rewards

    reward = getattr(lspo.rewards, REWARDS[given.reward or known.reward])()
    limit = given.max_response_tokens or known.max_response_tokens
    return Data(name, getattr(lspo.problems, known.kind)(**settings), reward, limit)


def _of_a_file(given: Any) -> tuple[str, Known]:
    place = Path(given.data)
    if not place.exists():
        if place.suffix in FILES:
            raise MissingFileError(f"Expected a file of problems at {given.data}, but there is none.")
        close = get_close_matches(given.data, KNOWN, n=1)
        raise SettingError(
            f"Expected --data to be a file ({', '.join(FILES)}) or one of {', '.join(KNOWN)}, but got {given.data!r}."
            f"{f' Did you mean {close[0]}?' if close else ''}"
        )
    columns = {"path": given.data, "prompt": given.prompt_column, "answer": given.answer_column}
    return place.stem.replace(".", "_"), Known("DatasetProblems", columns)


def _asked(given: Any, has_chat_template: Callable[[], bool]) -> dict[str, Any]:
    """How problems are asked: published sets with the instruction, files as they are, unless a flag says otherwise."""
    instruction = given.instruction
    if instruction is None and given.data in KNOWN:
        instruction = BOXED
    # A column that holds messages is a chat in any case.
    chat = {"yes": True, "no": False}.get(given.chat)
    if given.chat == "auto":
        chat = True if has_chat_template() else None
    return {"chat": chat, **({"instruction": instruction} if instruction else {})}
