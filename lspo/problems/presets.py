"""Published problem sets: where they are, and how their rows are made.

Each takes a `path`: a local copy of the published file, in place of the hub. How problems are asked (`instruction`,
`chat`) is left to the run, but where the published rows are chats.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from inspect import signature
from typing import Any

from lspo.errors import SettingError
from lspo.problems.base import ProblemSet
from lspo.problems.dataset import Columns, DatasetProblems
from lspo.problems.row_problems import RowProblems

PathLike = str | os.PathLike[str]


class GSM8K(DatasetProblems):
    """Grade-school mathematics, 7,473 training and 1,319 test problems (arXiv:2110.14168), as `openai/gsm8k`.

    The ground truth is the whole worked solution, which ends in `#### ` and the answer.

    Args:
        path: Hub name or file.
        split: "train" or "test"; of the hub.
        **settings: Those of `DatasetProblems`.
    """

    def __init__(self, path: PathLike = "openai/gsm8k", split: str = "train", **settings: Any) -> None:
        super().__init__(path, name="main", split=split, prompt="question", answer="answer", **settings)


class MATH(DatasetProblems):
    """Competition mathematics, 7,500 training and 5,000 test problems (arXiv:2103.03874), as `MATH-lighteval`.

    The original repository is gone from the hub; this copy has all subjects in one set. The ground truth is what the
    solution's last box holds.

    Args:
        path: Hub name or file.
        split: "train" or "test"; of the hub.
        **settings: Those of `DatasetProblems`.
    """

    def __init__(
        self, path: PathLike = "DigitalLearningGmbH/MATH-lighteval", split: str = "train", **settings: Any
    ) -> None:
        super().__init__(path, split=split, prompt="problem", answer="solution", answer_from="last_boxed", **settings)


class MATH500(DatasetProblems):
    """500 of MATH's test problems (arXiv:2305.20050), as `HuggingFaceH4/MATH-500`.

    Args:
        path: Hub name or file.
        **settings: Those of `DatasetProblems`.
    """

    def __init__(self, path: PathLike = "HuggingFaceH4/MATH-500", **settings: Any) -> None:
        super().__init__(path, split="test", prompt="problem", answer="answer", **settings)


class DAPOMath17k(DatasetProblems):
    """DAPO's training set, 17 thousand problems with whole numbers as answers (arXiv:2503.14476).

    As `BytedTsinghua-SIA/DAPO-Math-17k`, whose 1.8 million rows repeat each prompt about a hundred times: they are
    dropped. Rows are chats, which ask for a last line `Answer: ...`; so the reward must read that form.

    Args:
        path: Hub name or file.
        **settings: Those of `DatasetProblems`.
    """

    def __init__(
        self, path: PathLike = "BytedTsinghua-SIA/DAPO-Math-17k", deduplicate: bool = True, **settings: Any
    ) -> None:
        super().__init__(
            path,
            split="train",
            prompt="prompt",
            answer="reward_model.ground_truth",
            deduplicate=deduplicate,
            **settings,
        )


class AIME24(DatasetProblems):
    """The 30 problems of AIME I and II, 2024, as `HuggingFaceH4/aime_2024`.

    Args:
        path: Hub name or file.
        **settings: Those of `DatasetProblems`.
    """

    def __init__(self, path: PathLike = "HuggingFaceH4/aime_2024", **settings: Any) -> None:
        super().__init__(path, split="train", prompt="problem", answer="answer", **settings)


class AIME25(DatasetProblems):
    """The 30 problems of AIME I and II, 2025, as `math-ai/aime25`.

    Args:
        path: Hub name or file.
        **settings: Those of `DatasetProblems`.
    """

    def __init__(self, path: PathLike = "math-ai/aime25", **settings: Any) -> None:
        super().__init__(path, split="test", prompt="problem", answer="answer", **settings)


class OlympiadBench(DatasetProblems):
    """The 674 English, text-only, open-ended mathematics problems of OlympiadBench (arXiv:2402.14008).

    As `Hothan/OlympiadBench`, configuration `OE_TO_maths_en_COMP`. The ground truth is a list, mostly of one.

    Args:
        path: Hub name or file.
        name: Configuration; of the hub.
        **settings: Those of `DatasetProblems`.
    """

    def __init__(
        self, path: PathLike = "Hothan/OlympiadBench", name: str = "OE_TO_maths_en_COMP", **settings: Any
    ) -> None:
        super().__init__(path, name=name, split="train", prompt="question", answer="final_answer", **settings)


class MinervaMath(DatasetProblems):
    """272 undergraduate problems from MIT courses (arXiv:2206.14858), as `math-ai/minervamath`.

    The hub's rows have question and answer. Other copies have problem and solution, with the answer in a box: they
    are read as well.

    Args:
        path: Hub name or file.
        **settings: Those of `DatasetProblems`.
    """

    def __init__(self, path: PathLike = "math-ai/minervamath", **settings: Any) -> None:
        super().__init__(path, split="test", prompt="question", answer="answer", **settings)

    def columns(self, names: Sequence[str]) -> Columns:
        if "solution" in names and "answer" not in names:
            return Columns("problem", "solution", "last_boxed", self.extra)
        return super().columns(names)


PRESETS: dict[str, type[DatasetProblems]] = {
    signature(kind).parameters["path"].default: kind
    for kind in (GSM8K, MATH, MATH500, DAPOMath17k, AIME24, AIME25, OlympiadBench, MinervaMath)
}
"""By the names that the sets have on the hub."""


def as_set(source: Any, *, held_out: bool = False) -> ProblemSet:
    """A set as it is; by the hub name of a published one its preset; by any other name or file a `DatasetProblems`.

    Rows that Python has, a list of dicts or a `datasets.Dataset`, become `RowProblems`.

    A preset that has a test part is that part if `held_out`.

    Example:
        >>> as_set("openai/gsm8k", held_out=True).split, as_set("my_problems.jsonl").split
        ('test', 'train')

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(source, ProblemSet):
        return source
    if inspect.isclass(source) and issubclass(source, ProblemSet):
        raise SettingError(f"Expected problems, but got the class {source.__name__}. Write {source.__name__}(...).")
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str):
        return RowProblems(source)
    kind: Any = PRESETS.get(source, DatasetProblems)
    splits = kind is not DatasetProblems and "split" in signature(kind).parameters
    return kind(source, split="test") if held_out and splits else kind(source)
