"""The datamodule: builds prompts, engine, reward and selector into loaders, and owns their state."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lightning.pytorch import LightningDataModule

from lspo.batching.deal import BatchLayout
from lspo.collecting.collect import collect
from lspo.collecting.plan import LastYield
from lspo.collecting.pool import pool_size_of
from lspo.collecting.prompt_history import PromptHistory
from lspo.collecting.report import CollectReport
from lspo.datamodules.batches import Batches
from lspo.datamodules.checks import (
    check_first_problem,
    check_layout,
    check_tags,
    refuse_unfit_trainer,
    warn_of_few_prompts,
    warn_of_limits,
    warn_of_scale,
    warn_of_small_pools,
)
from lspo.datamodules.dispatch import CallbackDispatch
from lspo.datamodules.evaluation import Evaluation
from lspo.datamodules.evaluation_loader import EvaluationLoader
from lspo.datamodules.evaluation_set import EvaluationSet, SettledSet
from lspo.datamodules.exchange import all_gather_objects, all_to_all_objects, gather_to_first, tell_failure
from lspo.datamodules.given import as_engine, as_predictor, as_reward, as_selector, as_sets
from lspo.datamodules.held_out import HeldOutSets
from lspo.datamodules.layout import layout_on
from lspo.datamodules.loading import load_prompts
from lspo.datamodules.micro_batches import micro_batches, surplus_to_keep
from lspo.datamodules.other_modules import FreshWeights, report_missing_callbacks
from lspo.datamodules.prompts import PromptSource
from lspo.datamodules.rollout_loader import RolloutLoader
from lspo.datamodules.rounds import Rounds
from lspo.datamodules.state import LoopState, count_epoch, in_words
from lspo.datamodules.step_border import StepBorder, put_to_border
from lspo.errors import RunError, SettingError
from lspo.held import Held
from lspo.prediction import Predictor
from lspo.problems import MixedProblems, ProblemSet, as_set
from lspo.renamed import refuse_old_settings
from lspo.rewards import Reward
from lspo.rollout import PolicyHandle, RolloutEngine, Sampling, TransformersEngine
from lspo.sampling import AccuracyBand, Chain, Downsampler, GroupSelector, LengthBand
from lspo.types import Prompt, RolloutBatch, RolloutGroup


class RolloutDataModule(LightningDataModule):
    """Prompts, rollouts and their selection: the length-aware dynamic sampler as a stateful loader.

    An iteration collects `train_groups` groups with the present weights, in as many rounds as it takes, and trains on
    them in mini-batches; one Lightning epoch is one iteration. Each `RolloutCallback` is called at its phases.

    Args:
        train: Problems to train on: a set, or a hub name or file. The hub name of a published set stands for its
            preset in `lspo.problems`, in `val` and `test` for its test part. None: the data is for evaluation alone.
            From Python, a list of dicts with `question` and `answer` too, or a `datasets.Dataset`; so in `val` and
            `test`.
        reward: Scores responses. From Python, a function too: `def reward(response, answer)`, see `FunctionReward`.
        val: Held-out sets by name, for validation; one that differs from `evaluation` as an `EvaluationSet`.
        test: Held-out sets by name, for `test`.
        selector: Which groups are trained on. The default is LSPO: neither all right nor all wrong, and among the
            shortest or the longest.
        engine: Writes the responses.
        group_size: Responses per prompt, G.
        train_groups: Groups of an iteration, N, on all ranks.
        minibatch_groups: Groups of an optimizer step, on all ranks.
        sampling: How responses are sampled.
        downsample: Which responses of a chosen group are trained on; None: all. Advantages are relative to those.
        rounds: How an iteration is filled, and what happens if too few groups are kept.
        batches: What an iteration's groups become: passes, advantages, and limits of length.
        evaluation: How many responses to held-out problems, sampled how, and when.
        predictor: Says which prompts are worth generating for, by what became of them before; None: all are.
        seed: Of the prompts' order, and of all sampling whose `Sampling` has no seed of its own.

    Raises:
        ValueError: If sizes do not divide, or a setting is out of range.
    """

    @refuse_old_settings
    def __init__(
        self,
        train: ProblemSet | str | None,
        reward: Reward,
        val: dict[str, ProblemSet | EvaluationSet | str] | None = None,
        test: dict[str, ProblemSet | EvaluationSet | str] | None = None,
        selector: GroupSelector = Chain(AccuracyBand(), LengthBand()),  # noqa: B008 - stateless
        engine: RolloutEngine | None = None,
        group_size: int = 8,
        train_groups: int = 512,
        minibatch_groups: int = 32,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        downsample: Downsampler | None = None,
        rounds: Rounds = Rounds(),  # noqa: B008 - frozen
        batches: Batches = Batches(),  # noqa: B008 - frozen
        evaluation: Evaluation = Evaluation(),  # noqa: B008 - frozen
        predictor: Predictor | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.train_set = None if train is None else as_set(train)
        self.val_sets, self.test_sets = as_sets(val, "val"), as_sets(test, "test")
        self.reward = as_reward(reward)
        self.selector = as_selector(selector)
        self.engine = TransformersEngine() if engine is None else as_engine(engine)
        self.sampling = sampling if sampling.seed is not None else replace(sampling, seed=seed)
        self.rounds, self.batches, self.evaluation = rounds, batches, evaluation
        self.seed = seed
        if sampling.temperature == 0:
            raise SettingError("Expected a sampling temperature above 0 for training: greedy responses are all alike.")
        self._held_out = HeldOutSets(self.val_sets, self.test_sets, evaluation, self.sampling, seed=seed)
        self._layout = batches.layout(train_groups=train_groups, minibatch_groups=minibatch_groups)
        self._plan = rounds.plan(train_groups=train_groups, group_size=group_size, sampling=self.sampling)
        if downsample is not None:
            downsample.check(group_size)
        self.downsample = downsample
        self.predictor = as_predictor(predictor)
        if self.predictor.weighted:
            self.selector.check_weights()
        self._state = LoopState(rounds.remembered_iterations, self.predictor, batches.max_prompt_weight)
        self._engine_ready = False
        self._told_of_few_prompts = self._told_of_small_pools = False

    # --- Lightning's hooks

    def setup(self, stage: str) -> None:
        try:
            self._set_up(stage)
        except Exception as error:
            tell_failure(error)
            raise
        # Nobody watches over ranks yet: one whose server or file is not there would leave the others waiting.
        all_gather_objects(None)

    def _set_up(self, stage: str) -> None:
        policy = self._policy
        trainer = self._attached_trainer
        if stage == "fit":
            # A datamodule may have been through another run; what a resumed run needs is loaded after this. A second
            # `fit` of the same Trainer goes on where the first has ended.
            anew = trainer.global_step == 0 or self._state.prompts is None
            if anew:
                self._state.begin()
            # Read and dropped: what a round that was broken off has left would count in the next one.
            self.reward.metrics()
            self.reward.check_calls()
            refuse_unfit_trainer(trainer)
            report_missing_callbacks(trainer, policy)
            check_layout(self.layout, self._trained_group_size)
            warn_of_scale(self._layout.scale, policy.advantage_scales)
            limits = {**self.reward.response_limits(), **policy.response_limits}
            warn_of_limits(self.sampling.max_response_tokens, limits)
            if self.batches.old_logprobs == "engine" and getattr(policy, "correction", None) is not None:
                raise SettingError(
                    "Expected batches.old_logprobs='trainer' with a `correction`, but got 'engine': the ratio would "
                    "then hold the mismatch, and the weights correct it once more. Leave one of the two out."
                )
            if not self.val_sets:
                # Lightning would warn of an evaluation without loaders.
                trainer.limit_val_batches = 0
            elif self.evaluation.before_training and not trainer.fast_dev_run:
                # Lightning's sanity check, with every batch: it comes before the first training step and leaves no
                # trace. It is not made again when a run is resumed.
                trainer.num_sanity_val_steps = math.inf
            if self._state.prompts is None:
                train_set = self._training_set
                prompts = self._load(train_set, "train", self.sampling)
                weights = train_set.weights if isinstance(train_set, MixedProblems) else None
                self._state.prompts = PromptSource(prompts, seed=self.seed, weights=weights)
            if anew:
                self._state.begin_prediction(self._plan.group_size)
            # One iteration draws at least as many; how many more it takes is seen when it is over.
            self._warn_of_few_prompts(max(self.layout.train_groups, self.rounds.round_prompts or 0))
        self._held_out.load(stage, self._load)
        if not self._engine_ready:
            self.engine.setup(policy, rank=trainer.global_rank, world_size=trainer.world_size)
            self._engine_ready = True

    def check(self, trainer: Any, stage: str) -> None:
        """Looks at all that can be known before anything starts; the command does so before a run.

        Raises:
            ValueError: If a setting can't be honoured, or a set is empty or lacks a column.
            FileNotFoundError: If a file of problems is missing.
        """
        self.engine.check()
        self.reward.check_calls()
        sets = {name: one.problems for name, one in self._held_out.of(stage).items()}
        if stage == "fit":
            refuse_unfit_trainer(trainer)
            if not trainer.fast_dev_run:
                # How many ranks share the rollouts is known in `setup`, which looks again.
                alone = replace(self._layout, accumulate=trainer.accumulate_grad_batches)
                check_layout(alone, self._trained_group_size)
            sets = {"train": self._training_set, **sets}
        for name, problems in sets.items():
            check_first_problem(problems, name)

    def train_dataloader(self) -> RolloutLoader:
        trainer = self._attached_trainer
        # Before the loop changes it: where a fit that fails at its very start goes on from.
        self._state.start = trainer.fit_loop.state_dict()
        return RolloutLoader(
            self.layout.num_batches,
            self._state.queue,
            self._collect,
            batches_done=lambda: trainer.fit_loop.batch_idx + 1,
            hand_over=self._hand_over,
        )

    def val_dataloader(self) -> list[EvaluationLoader]:
        return self._evaluation_loaders("validate" if self._attached_trainer.state.fn == "validate" else "fit")

    def test_dataloader(self) -> list[EvaluationLoader]:
        return self._evaluation_loaders("test")

    def teardown(self, stage: str) -> None:
        self._close()

    def on_exception(self, exception: BaseException) -> None:
        # `teardown` is not called on signals.
        self._close()

    def state_dict(self) -> dict[str, Any]:
        if self._state.prompts is None:
            return {}
        step = self._state.open_step(self._attached_trainer, self._policy)
        held = self._held(self._state.surplus)
        return self._state.state_dict(self._settings, gather_to_first, held, step=step)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        trainer = self._attached_trainer
        if trainer.state.fn != "fit":
            # Evaluation of a checkpoint takes its weights alone: a run that goes on later has its own place.
            return
        if self.evaluation.before_training:
            # It was made when the run began; Lightning would make it again, as of iteration 0.
            trainer.num_sanity_val_steps = 0
        if state_dict and self._state.prompts is not None:
            self._state.load_state_dict(
                state_dict, self._settings, rank=trainer.global_rank, world_size=trainer.world_size
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state, trainer = self._state, self._attached_trainer
        if state.prompts is not None and "loops" in checkpoint and trainer.state.fn == "fit":
            put_to_border(checkpoint, trainer, self._policy, state.border_of_step, state.start)

    @property
    def _settings(self) -> dict[str, Any]:
        """What micro-batches and the count of iterations depend on, and what is reported where it has changed."""
        layout = self.layout
        return {
            "train_groups": layout.train_groups,
            "minibatch_groups": layout.minibatch_groups,
            "passes": layout.passes,
            "accumulate_grad_batches": layout.accumulate,
            "group_size": self._plan.group_size,
            "selector": in_words(self.selector),
            "reward": in_words(self.reward),
            "sampling": in_words(self.sampling),
            "predictor": in_words(self.predictor),
        }

    @property
    def group_size(self) -> int:
        """Responses per prompt, G."""
        return self._plan.group_size

    @property
    def train_groups(self) -> int:
        """Groups of an iteration, N, on all ranks."""
        return self._layout.train_groups

    @property
    def minibatch_groups(self) -> int:
        """Groups of an optimizer step, on all ranks."""
        return self._layout.minibatch_groups

    def held_out_sets(self, stage: str) -> dict[str, SettledSet]:
        """The sets that a stage evaluates on, with nothing left open."""
        return self._held_out.of(stage)

    @property
    def max_age(self) -> int:
        """Iterations that a rollout may be older than the weights it trains."""
        return self.rounds.max_age

    @property
    def prompt_history(self) -> PromptHistory:
        """What became of each training prompt so far."""
        return self._state.outcomes

    # --- an iteration

    def _hand_over(self, batch: RolloutBatch) -> None:
        trainer = self._attached_trainer
        count_epoch(trainer.fit_loop)
        if self._state.hand_over(batch, trainer.accumulate_grad_batches):
            self._state.begin_step(StepBorder(trainer, self._policy))

    @property
    def layout(self) -> BatchLayout:
        """How an iteration is cut, on this Trainer."""
        trainer = self._attached_trainer
        return layout_on(trainer, self._layout, getattr(self._policy, "data_parallel_size", trainer.world_size))

    def _collect(self) -> list[RolloutBatch]:
        """Collects an iteration's groups and cuts them into this rank's micro-batches."""
        trainer, state, layout = self._attached_trainer, self._state, self.layout
        count_epoch(trainer.fit_loop)
        # `fast_dev_run` trains on fewer groups.
        pool = self.rounds.least_pool(layout.train_groups)
        plan = replace(self._plan, iteration=self._policy.version, train_groups=layout.train_groups, min_pool=pool)
        if self.rounds.adaptive:
            plan.round_prompts = state.first_round(plan)
        dispatch = CallbackDispatch(trainer)
        border, callbacks = state.border(), dispatch.border()
        try:
            report = collect(
                state.ready_prompts,
                self.engine,
                self.reward,
                self.selector,
                plan,
                gather=all_gather_objects,
                rank=trainer.global_rank,
                world_size=trainer.world_size,
                listeners=[dispatch, FreshWeights(self.engine)],
                history=state.history.stats,
                carried=state.surplus,
                predictor=self.predictor if state.predicts else None,
            )
            self.engine.idle()
            if self.downsample is not None:
                report = report.downsampled(self.downsample, gather=all_gather_objects)
            held = self._held([*state.surplus, *report.own_groups])
            rank = getattr(self._policy, "data_parallel_rank", trainer.global_rank)
            batches, phases = micro_batches(
                report,
                layout,
                self._policy,
                rank=rank,
                held=held,
                old_logprobs=self.batches.old_logprobs,
                seed=self.seed,
            )
            state.surplus = surplus_to_keep(
                report, layout, self._policy, rank=rank, held=held, old_logprobs=self.batches.old_logprobs
            )
            state.history.add(report)
            predicted = state.note_outcomes(report, self.selector)
            self._warn_of_few_prompts(len(report.stats))
            self._warn_of_small_pools(report)
            size = pool_size_of(report.decision, report.stats)
            state.last_yield = LastYield(len(report.stats), int(report.decision.keep.sum()), size)
            dispatch.finish(replace(report, phases={**report.phases, **phases}, prediction=predicted))
        except BaseException as error:
            # Back to the border of the iteration, so that a checkpoint written now loses nothing.
            state.return_to(border)
            dispatch.return_to(callbacks)
            if isinstance(error, Exception):
                tell_failure(error)
            raise
        return batches

    # --- pieces

    def _held(self, groups: Iterable[RolloutGroup]) -> Held:
        trainer = self._attached_trainer
        return Held(groups, exchange=all_to_all_objects, rank=trainer.global_rank, world_size=trainer.world_size)

    def _load(self, problems: ProblemSet, name: str, sampling: Sampling) -> list[Prompt]:
        check_tags(self._policy.tokenizer, name, self.reward, sampling)
        return load_prompts(
            problems,
            name,
            self._policy,
            max_prompt_tokens=self.batches.max_prompt_tokens,
            max_response_tokens=sampling.max_response_tokens,
            reward=self.reward,
        )

    def _warn_of_few_prompts(self, drawn: int) -> None:
        if not self._told_of_few_prompts and not self._attached_trainer.fast_dev_run:
            self._told_of_few_prompts = warn_of_few_prompts(len(self._state.ready_prompts), drawn)

    def _warn_of_small_pools(self, report: CollectReport) -> None:
        weighted = report.stats.weights is not None and report.decision.in_pool is not None
        if weighted and not self._told_of_small_pools and not self._attached_trainer.fast_dev_run:
            self._told_of_small_pools = True
            warn_of_small_pools(self.rounds, self.layout.train_groups)

    def _evaluation_loaders(self, stage: str) -> list[EvaluationLoader]:
        trainer = self._attached_trainer
        return self._held_out.loaders(
            stage, self.engine, self.reward, rank=trainer.global_rank, world_size=trainer.world_size
        )

    def _close(self) -> None:
        self.engine.close()
        self.reward.close()
        self._engine_ready = False

    @property
    def _training_set(self) -> ProblemSet:
        if self.train_set is None:
            raise SettingError(
                "Expected problems to train on as `train`, but got None, which is for evaluation alone. Name a file, a "
                "folder or a set on the hub."
            )
        return self.train_set

    @property
    def _trained_group_size(self) -> int:
        return self._plan.group_size if self.downsample is None else self.downsample.keep

    @property
    def _attached_trainer(self) -> Any:
        if self.trainer is None:
            raise RunError("Expected the datamodule to be attached to a Trainer: use `trainer.fit(policy, data)`.")
        return self.trainer

    @property
    def _policy(self) -> Any:
        policy = self._attached_trainer.lightning_module
        if not isinstance(policy, PolicyHandle):
            raise TypeError(
                f"Expected a LightningModule that is a `lspo.rollout.PolicyHandle`, as PolicyModule and what is "
                f"derived from RolloutModule are, but got {type(policy).__name__}."
            )
        return policy
