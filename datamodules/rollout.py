"""The datamodule: builds prompts, engine, reward and selector into loaders, and owns their state.

Over 300 lines, as a third of it is the signature and its documentation, which is the reference of `lspo fit --help`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn

from lspo.advantages import Baseline, Scale
from lspo.batching import BatchLayout, deal, in_passes
from lspo.collect import collect
from lspo.datamodules.dispatch import CallbackDispatch
from lspo.datamodules.evaluation_loader import EvaluationLoader
from lspo.datamodules.exchange import all_gather_objects, tell_failure
from lspo.datamodules.prompts import PromptSource
from lspo.datamodules.rollout_loader import RolloutLoader
from lspo.datamodules.state import LoopState, count_epoch, in_words, roll_back
from lspo.plan import CollectPlan, LastYield, PoolScope, Shortfall
from lspo.problems import DatasetProblems, ProblemSet
from lspo.report import CollectReport
from lspo.rewards import Reward
from lspo.rollout import PolicyHandle, RolloutEngine, Sampling, TransformersEngine
from lspo.sampling import AccuracyBand, Chain, GroupSelector, LengthBand
from lspo.types import Prompt, RolloutBatch


class RolloutDataModule(LightningDataModule):
    """Prompts, rollouts and their selection: the length-aware dynamic sampler as a stateful loader.

    An iteration collects `train_groups` groups with the present weights, in as many rounds as it takes, and trains on
    them in mini-batches; one Lightning epoch is one iteration. What happens in between is told to `RolloutCallback`s.

    Args:
        train: Problems to train on: a set, or a hub name or file.
        reward: Scores responses.
        val: Held-out sets by name, for validation.
        test: Held-out sets by name, for `test`.
        selector: Which groups are trained on. The default is LSPO: neither all right nor all wrong, and among the
            shortest or the longest.
        engine: Writes the responses.
        group_size: Responses for a prompt, G.
        train_groups: Groups of an iteration, N, on all ranks.
        minibatch_groups: Groups of an optimizer step, on all ranks.
        passes: How often an iteration's groups are gone through.
        sampling: How responses are sampled.
        round_prompts: Prompts of the first round, and the most of a later one, on all ranks. None: what the yield of
            the last iteration says is needed, between 1 and 4 times `train_groups`.
        max_rounds: Rounds of an iteration at most.
        min_pool: Groups that a rule relative to the pool must have seen before anything is decided.
        pool: Over which groups bounds are computed: the "iteration"'s, each "round"'s by itself (paper), or those of a
            "window" of iterations.
        window_iterations: Earlier iterations in the window.
        on_shortfall: At the round limit: "raise", "train" on what there is, or "fill" up with the mixed-accuracy groups
            nearest the band.
        baseline: What rewards are relative to: the group's "mean", or "leave_one_out".
        advantage_scale: What advantages are divided by: the "group"'s standard deviation, the "batch"'s, or "none".
        max_micro_batch_tokens: Tokens of a micro-batch at most, padding included; None: any.
        max_prompt_tokens: Longer prompts are dropped, and counted; None: none is.
        val_group_size: Responses for a prompt in evaluation, the k of avg@k.
        val_sampling: How those are sampled; None: as in training.
        val_batch_prompts: Prompts evaluated at a time, on all ranks.
        seed: Of prompt order and sampling.

    Raises:
        ValueError: If sizes do not divide, or a setting is out of range.
    """

    def __init__(
        self,
        train: str | ProblemSet,
        reward: Reward,
        val: dict[str, str | ProblemSet] | None = None,
        test: dict[str, str | ProblemSet] | None = None,
        selector: GroupSelector = Chain(AccuracyBand(), LengthBand()),  # noqa: B008 - stateless
        engine: RolloutEngine | None = None,
        group_size: int = 8,
        train_groups: int = 512,
        minibatch_groups: int = 32,
        passes: int = 1,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        round_prompts: int | None = None,
        max_rounds: int = 10,
        min_pool: int = 64,
        pool: PoolScope = "iteration",
        window_iterations: int = 4,
        on_shortfall: Shortfall = "raise",
        baseline: Baseline = "mean",
        advantage_scale: Scale = "group",
        max_micro_batch_tokens: int | None = None,
        max_prompt_tokens: int | None = None,
        val_group_size: int = 8,
        val_sampling: Sampling | None = None,
        val_batch_prompts: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.train_set, self.val_sets, self.test_sets = train, dict(val or {}), dict(test or {})
        self.reward = reward
        self.selector = selector
        self.engine = TransformersEngine() if engine is None else engine
        self.sampling = replace(sampling, seed=seed)
        self.val_sampling = self.sampling if val_sampling is None else replace(val_sampling, seed=seed)
        self.val_group_size, self.val_batch_prompts = val_group_size, val_batch_prompts
        self.max_prompt_tokens = max_prompt_tokens
        self.seed = seed
        for name, size in (("val_group_size", val_group_size), ("val_batch_prompts", val_batch_prompts)):
            if size < 1:
                raise ValueError(f"Expected `{name}` to be at least 1, but got {size}.")
        if sampling.temperature == 0:
            raise ValueError("Expected a sampling temperature above 0 for training: greedy responses are all alike.")
        self._layout = BatchLayout(
            train_groups=train_groups,
            minibatch_groups=minibatch_groups,
            passes=passes,
            max_micro_batch_tokens=max_micro_batch_tokens,
            baseline=baseline,
            scale=advantage_scale,
        )
        self._plan = CollectPlan(
            iteration=0,
            train_groups=train_groups,
            group_size=group_size,
            round_prompts=train_groups if round_prompts is None else round_prompts,
            max_rounds=max_rounds,
            min_pool=min_pool,
            pool=pool,
            on_shortfall=on_shortfall,
            sampling=self.sampling,
        )
        self._adaptive_rounds = round_prompts is None
        if pool == "round" and round_prompts is None:
            raise ValueError(
                "Expected `round_prompts` with pool='round', whose rounds are of a fixed size, but got None."
            )
        self._state = LoopState(window_iterations if pool == "window" else 0)
        self._evaluation_prompts: dict[str, dict[str, list[Prompt]]] = {}
        self._engine_ready = False

    # --- Lightning's hooks

    def setup(self, stage: str) -> None:
        policy = self._policy
        trainer = self._attached_trainer
        if stage == "fit":
            self._refuse_cut_epochs()
            if not self.val_sets:
                # Lightning would warn of an evaluation without loaders.
                trainer.limit_val_batches = 0
            if self._state.prompts is None:
                self._state.prompts = PromptSource(self._load(self.train_set, "train"), seed=self.seed)
        wanted = {"fit": self.val_sets, "validate": self.val_sets, "test": self.test_sets}.get(stage)
        if wanted is None:
            raise ValueError(f"Expected one of fit, validate and test, but got {stage!r}, for which there is nothing.")
        if stage != "fit" and not wanted:
            setting = {"validate": "val", "test": "test"}[stage]
            raise ValueError(
                f"Expected at least one data set to {stage} on, but the datamodule's `{setting}` names none."
            )
        self._evaluation_prompts[stage] = {name: self._load(source, name) for name, source in wanted.items()}
        if not self._engine_ready:
            self.engine.setup(policy, rank=trainer.global_rank, world_size=trainer.world_size)
            self._engine_ready = True

    def train_dataloader(self) -> RolloutLoader:
        trainer = self._attached_trainer
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
        return {} if self._state.prompts is None else self._state.state_dict(self._settings, all_gather_objects)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Evaluation of a checkpoint takes its weights alone.
        if state_dict and self._state.prompts is not None:
            trainer = self._attached_trainer
            self._state.load_state_dict(
                state_dict, self._settings, rank=trainer.global_rank, world_size=trainer.world_size
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self._state.prompts is not None and "loops" in checkpoint:
            batches = len(self._state.open_step(self._attached_trainer.accumulate_grad_batches))
            if batches:
                roll_back(checkpoint["loops"]["fit_loop"], batches)

    @property
    def _settings(self) -> dict[str, Any]:
        """What micro-batches and the count of iterations depend on, and what is told where it has changed."""
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
        }

    # --- an iteration

    def _hand_over(self, batch: RolloutBatch) -> None:
        trainer = self._attached_trainer
        self._state.hand_over(batch, trainer.accumulate_grad_batches)
        count_epoch(trainer.fit_loop)

    @property
    def layout(self) -> BatchLayout:
        """How an iteration is cut, on this Trainer."""
        policy, trainer = self._policy, self._attached_trainer
        layout = replace(
            self._layout,
            accumulate=trainer.accumulate_grad_batches,
            data_parallel_size=getattr(policy, "data_parallel_size", trainer.world_size),
        )
        if trainer.fast_dev_run:
            # Lightning will ask for so many batches and no more: a whole, if small, iteration of as many.
            batches = int(trainer.limit_train_batches)
            steps = max(1, min(batches // layout.accumulate, layout.num_minibatches))
            return replace(
                layout,
                train_groups=steps * layout.minibatch_groups,
                passes=1,
                accumulate=min(layout.accumulate, batches),
            )
        return layout

    def _collect(self) -> list[RolloutBatch]:
        """Collects an iteration's groups and cuts them into this rank's micro-batches."""
        trainer, state, layout = self._attached_trainer, self._state, self.layout
        plan = replace(self._plan, iteration=self._policy.version, train_groups=layout.train_groups)
        if self._adaptive_rounds:
            plan.round_prompts = state.last_yield.first_round(plan.train_groups, plan.min_pool)
        dispatch = CallbackDispatch(trainer)
        border = state.border()
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
                listeners=[dispatch],
                history=state.history.stats,
            )
            batches, seconds = self._batches(report, layout)
            state.history.add(report)
            state.last_yield = LastYield(len(report.stats), int(report.decision.keep.sum()), report.decision.pool_size)
            dispatch.finish(replace(report, phases={**report.phases, "old_logprobs": seconds}))
        except BaseException as error:
            # Back to the border of the iteration, so that a checkpoint written now loses nothing.
            state.return_to(border)
            if isinstance(error, Exception):
                tell_failure(error)
            raise
        return batches

    def _batches(self, report: CollectReport, layout: BatchLayout) -> tuple[list[RolloutBatch], float]:
        policy = self._policy
        minibatches = deal(
            report.groups,
            layout,
            rank=getattr(policy, "data_parallel_rank", self._attached_trainer.global_rank),
            pad_token_id=policy.tokenizer.pad_token_id,
            temperature=report.plan.sampling.temperature,
        )
        started = time.perf_counter()
        # With one optimizer step, the weights that sampled are those that are trained: no pass needed.
        if layout.optimizer_steps > 1:
            minibatches = [
                [batch.replace(old_logprobs=policy.logprobs(batch).cpu()) for batch in bins] for bins in minibatches
            ]
        seconds = time.perf_counter() - started
        return in_passes(minibatches, layout.passes, seed=self.seed + report.plan.iteration), seconds

    # --- pieces

    def _load(self, source: str | ProblemSet, name: str) -> list[Prompt]:
        problems = DatasetProblems(source) if isinstance(source, str) else source
        prompts = problems.prompts(self._policy.tokenizer)
        if self.max_prompt_tokens is None:
            return prompts
        fitting = [prompt for prompt in prompts if len(prompt.token_ids) <= self.max_prompt_tokens]
        if prompts and not fitting:
            shortest = min(len(prompt.token_ids) for prompt in prompts)
            raise ValueError(
                f"Expected prompts of at most max_prompt_tokens={self.max_prompt_tokens} tokens in {name!r}, but the "
                f"shortest of {len(prompts)} has {shortest}. Raise `max_prompt_tokens`."
            )
        if len(fitting) < len(prompts):
            rank_zero_warn(
                f"Dropped {len(prompts) - len(fitting)} of {len(prompts)} prompts of {name!r} that have more than "
                f"max_prompt_tokens={self.max_prompt_tokens} tokens."
            )
        return fitting

    def _evaluation_loaders(self, stage: str) -> list[EvaluationLoader]:
        trainer = self._attached_trainer
        return [
            EvaluationLoader(
                name,
                prompts,
                self.engine,
                self.reward,
                group_size=self.val_group_size,
                sampling=self.val_sampling,
                batch_prompts=self.val_batch_prompts,
                rank=trainer.global_rank,
                world_size=trainer.world_size,
            )
            for name, prompts in self._evaluation_prompts.get(stage, {}).items()
        ]

    def _close(self) -> None:
        self.engine.close()
        self.reward.close()
        self._engine_ready = False

    def _refuse_cut_epochs(self) -> None:
        trainer = self._attached_trainer
        if trainer.fast_dev_run:
            return
        # The whole number 1 is one batch, and not, as 1.0, all of them.
        whole = isinstance(trainer.limit_train_batches, float) and trainer.limit_train_batches == 1
        if not whole or trainer.overfit_batches:
            raise ValueError(
                "Expected whole iterations: `limit_train_batches` and `overfit_batches` would cut them short and train "
                "the next one on stale rollouts. For a short run lower `max_epochs`, which counts iterations, or "
                "`train_groups`."
            )

    @property
    def _attached_trainer(self) -> Any:
        if self.trainer is None:
            raise RuntimeError("Expected the datamodule to be attached to a Trainer: use `trainer.fit(policy, data)`.")
        return self.trainer

    @property
    def _policy(self) -> Any:
        policy = self._attached_trainer.lightning_module
        if not isinstance(policy, PolicyHandle):
            raise TypeError(
                f"Expected a LightningModule that is a `lspo.rollout.PolicyHandle`, as PolicyModule is, but got "
                f"{type(policy).__name__}."
            )
        return policy
