"""What a run would lose with its process, if a checkpoint did not hold it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn

from lspo.collecting.plan import CollectPlan, LastYield
from lspo.collecting.pool_history import PoolHistory
from lspo.collecting.prompt_history import PromptHistory
from lspo.collecting.report import CollectReport
from lspo.columns import group_columns, groups_of
from lspo.datamodules.prompts import PromptSource
from lspo.datamodules.state_version_1 import from_version_1
from lspo.datamodules.step_border import StepBorder
from lspo.errors import RunError, SettingError
from lspo.held import Held, outline
from lspo.prediction import Predictor, Uniform
from lspo.prediction.ledger import Ledger, Observed
from lspo.sampling.base import GroupSelector
from lspo.types import Draw, RolloutBatch, RolloutGroup

STATE_VERSION = 2
SETTINGS_OF_STEPS = ("train_groups", "minibatch_groups", "passes")
"""Iterations are counted in optimizer steps: with other numbers of these the count would mean something else."""
SETTINGS_TOLD = ("selector", "reward", "sampling", "predictor")
"""Those that a run may go on with when they have changed, from the next iteration on: it is said, and no more."""

SETTINGS_OF_ACCURACY = ("group_size", "sampling", "reward")
"""What the number of right responses in a group depends on, beside the prompt and the weights."""


class LoopState:
    """The place in the prompts, the micro-batches still to be trained on, and what earlier iterations have left.

    Args:
        window_iterations: Iterations whose pools are kept.
        predictor: Says which prompts are worth generating for.
        max_prompt_weight: The most that a group counts in the loss by the probability of its draw.
    """

    def __init__(
        self, window_iterations: int, predictor: Predictor | None = None, max_prompt_weight: float | None = None
    ) -> None:
        self.max_prompt_weight = max_prompt_weight
        self.predictor = Uniform() if predictor is None else predictor
        self._group_size = 0
        self._ledger: Ledger | None = None
        self.prompts: PromptSource | None = None
        self.queue: deque[RolloutBatch] = deque()
        self._step: list[RolloutBatch] = []
        self.border_of_step: StepBorder | None = None
        self.start: dict[str, Any] | None = None
        self.history = PoolHistory(window_iterations)
        self.last_yield = LastYield()
        self.surplus: list[RolloutGroup] = []
        self._outcomes: PromptHistory | None = None

    @property
    def outcomes(self) -> PromptHistory:
        """What became of each prompt."""
        if self._outcomes is None:
            self._outcomes = PromptHistory(len(self.ready_prompts))
        return self._outcomes

    def first_round(self, plan: CollectPlan) -> int:
        """Prompts of an iteration's first round: what the yield of the last one says is needed."""
        carried = sum(plan.may_train(group.version) for group in self.surplus)
        missing = max(plan.train_groups - carried, 1)
        # Few may be missing, but a relative rule needs its whole pool all the same.
        return self.last_yield.first_round(
            missing, plan.min_pool, history_size=self.history.size, at_most=4.0 * plan.train_groups / missing
        )

    @property
    def ledger(self) -> Ledger:
        """What prediction did."""
        if self._ledger is None:
            self._ledger = Ledger(len(self.ready_prompts), self.max_prompt_weight)
        return self._ledger

    @property
    def predicts(self) -> bool:
        return not isinstance(self.predictor, Uniform)

    def begin_prediction(self, group_size: int) -> None:
        """Forgets what was learned of the prompts, and how they were drawn."""
        self._group_size = group_size
        self.predictor.begin(len(self.ready_prompts), group_size)
        self._ledger = None

    def note_outcomes(self, report: CollectReport, selector: GroupSelector) -> dict[str, float]:
        """Takes in what became of an iteration's prompts; what is to be said of prediction, by name."""
        places = torch.tensor([draw.place for draw in report.draws], dtype=torch.int64)
        iteration = report.plan.iteration
        self.outcomes.add(places, report.stats, iteration)
        if not self.predicts:
            return {}
        used, audit = report.plan.selector or selector, self.predictor.audit
        values = self.ledger.add(
            Observed(
                report.draws,
                report.stats,
                report.decision,
                report.chosen,
                [Draw(one.draw_index, one.prompt, one.place, one.probability) for one in report.groups],
                kept_chance=self.predictor.chance_kept(places, selector=used, iteration=iteration),
                audited=self.ready_prompts.audited(report.stats.draw_index, audit) if audit else None,
            )
        )
        self.predictor.observe(places, report.stats, report.decision, iteration)
        return values | {f"prediction/{name}": value for name, value in self.predictor.metrics().items()}

    def hand_over(self, batch: RolloutBatch, accumulate: int) -> bool:
        """Keeps the micro-batches of the present optimizer step; True at its first."""
        if len(self._step) >= accumulate:
            self._step.clear()
        self._step.append(batch)
        return len(self._step) == 1

    def open_step(self, trainer: Any, policy: Any) -> list[RolloutBatch]:
        """Micro-batches whose gradients are not in the weights yet: a checkpoint does not hold those."""
        return [] if self.border_of_step is None or self.border_of_step.is_passed(trainer, policy) else self._step

    def begin_step(self, border: StepBorder | None) -> None:
        """Remembers where the step that begins goes on from; None: none has begun."""
        self.border_of_step = border
        if border is None:
            self._step.clear()

    def begin(self) -> None:
        """Forgets what an earlier run has left, but for the prompts that were loaded."""
        if self.prompts is not None:
            self.prompts.drawn = 0
        self.queue.clear()
        self.begin_step(None)
        self.history.load_state_dict([])
        self.last_yield = LastYield()
        self.surplus = []
        self._outcomes = self._ledger = None

    def border(self) -> dict[str, Any]:
        """All but the queue: the state between two iterations, to return to within this process."""
        return {
            "prompts": self.ready_prompts.state_dict(),
            "history": self.history.state_dict(),
            "last_yield": asdict(self.last_yield),
            "surplus": list(self.surplus),
            "outcomes": self.outcomes.state_dict(),
            "prediction": self._prediction(),
        }

    def _prediction(self) -> dict[str, Any]:
        if not self.predicts:
            return {}
        return {
            "class": type(self.predictor).__name__,
            "learned": self.predictor.state_dict(),
            "ledger": self.ledger.state_dict(),
        }

    def return_to(self, border: Mapping[str, Any]) -> None:
        """Takes up a state between two iterations."""
        self.ready_prompts.load_state_dict(border["prompts"])
        self.history.load_state_dict(border["history"])
        self.last_yield = LastYield(**border["last_yield"])
        self.outcomes.load_state_dict(border["outcomes"])
        self.surplus = list(border["surplus"])
        self._return_prediction(border.get("prediction", {}))

    def _return_prediction(self, saved: Mapping[str, Any]) -> None:
        if not self.predicts:
            return
        if saved.get("class") == type(self.predictor).__name__:
            self.predictor.load_state_dict(saved["learned"])
            self.ledger.load_state_dict(saved["ledger"])
        else:
            self.begin_prediction(self._group_size)
            rank_zero_warn(
                f"{type(self.predictor).__name__} starts without knowledge of the prompts, as the checkpoint has "
                f"{'that of ' + saved['class'] if saved else 'none'}: each prompt is drawn once whatever is predicted."
            )

    @property
    def ready_prompts(self) -> PromptSource:
        if self.prompts is None:
            raise RunError("Expected prompts to be loaded in `setup` before the run's state is asked for.")
        return self.prompts

    def state_dict(
        self,
        settings: Mapping[str, Any],
        gather_to_first: Callable[[Any], list[Any] | None],
        held: Held,
        *,
        step: Sequence[RolloutBatch] = (),
    ) -> dict[str, Any]:
        """Plain data for a checkpoint; collective, as each rank has a queue and a part of the surplus of its own.

        The first rank, which writes it, has all of them; the others' state lacks both.

        Args:
            settings: Of the run.
            gather_to_first: Gives the first rank a list of all ranks' objects, and the others None.
            held: The surplus of this rank, and the way to the others'.
            step: Micro-batches that were handed over, but are to be trained on again.
        """
        left = [*step, *self.queue]
        queues = gather_to_first([batch.state_dict() for batch in left])
        wanted = [rollout for group in self.surplus for rollout in group.rollouts] if queues is not None else []
        rollouts = iter(held.fetch(wanted, texts=True))
        state = {"state_version": STATE_VERSION, "settings": dict(settings), **self.border()}
        del state["surplus"]
        if queues is None:
            return state
        whole = [replace(group, rollouts=tuple(islice(rollouts, len(group.rollouts)))) for group in self.surplus]
        return {**state, "queue": queues, "surplus": group_columns(whole)}

    def load_state_dict(
        self, state: Mapping[str, Any], settings: Mapping[str, Any], *, rank: int, world_size: int
    ) -> None:
        """Goes on from a checkpoint.

        Raises:
            ValueError: If the run is another: other prompts, other optimizer steps, or, within an iteration, anything
                that its micro-batches depend on.
        """
        check_version(state)
        if state["state_version"] == 1:
            state = from_version_1(state)
        queues = state["queue"]
        within = any(queues)
        self._compare(state["settings"], settings, within=within)
        if within and len(queues) != world_size:
            raise SettingError(
                f"Expected {len(queues)} processes, as this checkpoint was written within an iteration, but got "
                f"{world_size}. Resume with {len(queues)}, or from a checkpoint of an iteration's end."
            )
        # Before what is said in places among them: a checkpoint of other prompts is refused.
        self.ready_prompts.load_state_dict(state["prompts"])
        surplus = groups_of(state["surplus"], self.ready_prompts.drawn_before)
        # Each rank holds a part; which one makes no difference to what is trained on.
        holders = [place % world_size for place in range(len(surplus))]
        self.return_to(
            {
                **state,
                "surplus": [
                    group if holder == rank else outline(group, holder)
                    for group, holder in zip(surplus, holders, strict=True)
                ],
            }
        )
        if state["settings"]["group_size"] != settings["group_size"]:
            self._drop_groups(state["settings"]["group_size"])
        if any(state["settings"].get(name, settings[name]) != settings[name] for name in SETTINGS_OF_ACCURACY):
            self.predictor.forget_accuracy()
        self.queue.clear()
        self.begin_step(None)
        if within:
            self.queue.extend(RolloutBatch.from_state_dict(batch) for batch in queues[rank])

    def _drop_groups(self, group_size: int) -> None:
        """Groups of another size fit into no batch with new ones, and into no pool."""
        if self.surplus or self.history.size:
            rank_zero_warn(
                f"Dropped {len(self.surplus)} surplus groups and {self.history.size} groups of the window, as they "
                f"have {group_size} responses each."
            )
        self.surplus = []
        self.history.load_state_dict([])

    @staticmethod
    def _compare(saved: Mapping[str, Any], present: Mapping[str, Any], *, within: bool) -> None:
        changed = {name: (saved[name], value) for name, value in present.items() if saved.get(name, value) != value}
        if not changed:
            return
        told = ", ".join(f"{name} from {old} to {new}" for name, (old, new) in changed.items())
        if (within and not changed.keys() <= set(SETTINGS_TOLD)) or any(name in changed for name in SETTINGS_OF_STEPS):
            where = "within an iteration" if within else "with another number of optimizer steps an iteration"
            raise SettingError(
                f"Expected the settings that the checkpoint was written with, {where}, but these changed: {told}. To "
                "start a new run from its weights, pass the folder that `lspo export` makes of it as `model`."
            )
        rank_zero_warn(f"The run goes on with changed settings: {told}.")


def count_epoch(loop: Any) -> None:
    """Has Lightning's training loop count the epoch that it is in as begun, and loggers the steps that were made.

    Resumed from a checkpoint behind an epoch's last batch, Lightning 2.6 goes through the next epoch without counting
    it, and a run resumed from a checkpoint of that epoch begins it again. Resumed from one of a stop between two
    rounds, before an epoch with an evaluation, it goes through an empty batch, which loggers would count as a step.
    """
    loop.epoch_loop._batches_that_stepped = loop.epoch_loop.global_step
    for counts in (loop.epoch_progress.total, loop.epoch_progress.current):
        if counts.ready == counts.processed:
            counts.ready = counts.started = counts.processed + 1


def check_version(state: Mapping[str, Any]) -> None:
    """Refuses a state that was written in another way than this one reads.

    Raises:
        ValueError: If it is of a newer version, or of one before the first.
    """
    version = state.get("state_version")
    if type(version) is int and 1 <= version <= STATE_VERSION:
        return
    if isinstance(version, int) and version > STATE_VERSION:
        newer = f"was written by a newer lspo, as its state has version {version}. Install that one to go on with it"
    else:
        newer = f"has a state of version {version}, which no release has written. It may be damaged, or a stranger's"
    raise SettingError(
        f"Expected the datamodule's state to have version {STATE_VERSION}, but the checkpoint {newer}. To start a new "
        "run from its weights, pass the folder that `lspo export` makes of it as `model`."
    )


def _is_setting(name: str, value: Any) -> bool:
    """Whether an attribute is one, and no counter of the run."""
    return not name.startswith("_") and isinstance(value, str | int | float | None)


def in_words(part: Any) -> str:
    """A piece's class and plain settings: alike in every process, as an address in memory is not."""
    if getattr(type(part), "__repr__", None) != object.__repr__:
        return repr(part)
    plain = {name: value for name, value in sorted(vars(part).items()) if _is_setting(name, value)}
    return f"{type(part).__name__}({', '.join(f'{name}={value!r}' for name, value in plain.items())})"
