"""The held-out sets of each stage: which they are, their prompts, and their loaders."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lspo.datamodules.evaluation import Evaluation
from lspo.datamodules.evaluation_loader import EvaluationLoader, WeightHandOver
from lspo.datamodules.evaluation_set import EvaluationSet, SettledSet, settle
from lspo.errors import SettingError
from lspo.problems import ProblemSet
from lspo.rewards import Reward
from lspo.rollout import RolloutEngine, Sampling
from lspo.types import Prompt

Load = Callable[[ProblemSet, str, Sampling], list[Prompt]]
"""From a set, its name and its sampling to its prompts."""


class HeldOutSets:
    """The sets of `val` and `test`, by the stage that evaluates on them.

    Args:
        val: Sets by name, for `fit` and `validate`.
        test: Sets by name, for `test`.
        evaluation: What stands for a setting that a set leaves open.
        sampling: Training's, which stands for one that `evaluation` leaves open.
        seed: Of sets whose sampling has none; None: training's.
    """

    def __init__(
        self,
        val: Mapping[str, ProblemSet | EvaluationSet | str],
        test: Mapping[str, ProblemSet | EvaluationSet | str],
        evaluation: Evaluation,
        sampling: Sampling,
        *,
        seed: int | None = None,
    ) -> None:
        self.val, self.test = (settle(sets, evaluation, sampling, seed=seed) for sets in (val, test))
        self._batch_prompts = evaluation.batch_prompts
        self._prompts: dict[str, dict[str, list[Prompt]]] = {}

    def of(self, stage: str) -> dict[str, SettledSet]:
        """The sets that a stage evaluates on.

        Raises:
            ValueError: If the stage is another, or does nothing else and there is no set.
        """
        known = {"fit": self.val, "validate": self.val, "test": self.test}
        if stage not in known:
            raise SettingError(
                f"Expected one of fit, validate and test, but got {stage!r}, for which there is nothing."
            )
        if stage != "fit" and not known[stage]:
            setting = {"validate": "val", "test": "test"}[stage]
            raise SettingError(
                f"Expected at least one data set to {stage} on, but the datamodule's `{setting}` names none."
            )
        return known[stage]

    def load(self, stage: str, load: Load) -> None:
        """Loads the prompts of a stage's sets."""
        self._prompts[stage] = {name: load(one.problems, name, one.sampling) for name, one in self.of(stage).items()}

    def loaders(
        self, stage: str, engine: RolloutEngine, reward: Reward, *, rank: int, world_size: int
    ) -> list[EvaluationLoader]:
        """A loader for each set that `load` has loaded."""
        sets = self.of(stage)
        hand_over = WeightHandOver(engine)
        return [
            EvaluationLoader(
                name,
                prompts,
                engine,
                reward,
                group_size=sets[name].group_size,
                sampling=sets[name].sampling,
                pass_at=sets[name].pass_at,
                batch_prompts=self._batch_prompts,
                rank=rank,
                world_size=world_size,
                hand_over=hand_over,
            )
            for name, prompts in self._prompts.get(stage, {}).items()
        ]
