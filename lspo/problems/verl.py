"""Data sets as they are made for verl."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lspo.problems.dataset import Columns, DatasetProblems


class VerlProblems(DatasetProblems):
    """A data set of verl, mostly a parquet file: `prompt` (messages) and `reward_model.ground_truth`.

    All columns reach the reward, `data_source`, `ability` and `extra_info` among them: see `VerlReward`. A ground truth
    that is a structure becomes text of JSON; `VerlReward` passes it on as it is.

    Args:
        path: File, folder of files, or hub name.
        name: Configuration of a hub data set.
        split: Which part of it.
        **settings: Those of `DatasetProblems`.

    Raises:
        ValueError: If a setting is out of range, and on reading, if columns, prompts or ground truths are not there.
    """

    column_advice: ClassVar[str] = (
        "verl's data has the columns data_source, prompt, ability, reward_model (with ground_truth) and extra_info. "
        "For other columns use `DatasetProblems`."
    )

    def __init__(
        self, path: str | os.PathLike[str], name: str | None = None, split: str = "train", **settings: Any
    ) -> None:
        super().__init__(path, name=name, split=split, prompt="prompt", answer="reward_model.ground_truth", **settings)

    def columns(self, names: Sequence[str]) -> Columns:
        return Columns(self.prompt, self.answer, self.answer_from, self.all_columns(names))

    def answer_text(self, cell: Any, booleans: tuple[str, str]) -> str | None:
        if isinstance(cell, Mapping) or (isinstance(cell, list) and any(isinstance(one, Mapping) for one in cell)):
            return json.dumps(cell, ensure_ascii=False)
        return super().answer_text(cell, booleans)
