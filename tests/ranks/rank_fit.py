"""A small run of the real pieces on one rank of several, with things that go wrong; see `main` for its settings."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer
from rank_strategies import FSDP1OnCPU
from transformers import AutoModelForCausalLM

from lspo.datamodules import Evaluation, RolloutDataModule, Rounds
from lspo.lightning_modules import (
    HealthWarnings,
    IterationRecord,
    PolicyModule,
    RankWatch,
    ReportWriter,
    RolloutCallback,
    RolloutWriter,
)
from lspo.models.causal_lm import load_tokenizer
from lspo.objectives import DAPO
from lspo.problems import RunningSumProblems
from lspo.rollout import Sampling, decoding
from lspo.rollout.keyed_sampling import choose
from lspo.sampling import AccuracyBand, MaxVariance
from lspo.testing import ScriptedReward

RANK = int(os.environ.get("LOCAL_RANK", 0))


class Trouble(RolloutCallback, ScriptedReward):
    """Does something at a place on one rank, as a reward or a callback: `raise`, `kill`, `sleep`, a signal's name."""

    def __init__(self, rank: int = -1, where: str = "", how: str = "", iteration: int = 1) -> None:
        super().__init__()
        self.rank, self.where, self.how, self.iteration = rank, where, how, iteration
        self.policy: Any = None

    def reach(self, where: str) -> None:
        if self.rank != RANK or where != self.where or self.policy.version != self.iteration:
            return
        if self.how == "raise":
            raise ValueError(f"No luck in {where}.")
        if self.how == "sleep":
            self.where = ""
            time.sleep(6)
            return
        number = signal.SIGKILL if self.how == "kill" else signal.Signals[self.how]
        self.where = ""
        os.kill(os.getpid(), number)

    def check(self, prompt: Any) -> None:
        self.reach("setup")

    def score_batch(self, responses: Any) -> Any:
        if self.policy.trainer.training:
            self.reach("reward")
        return super().score_batch(responses)

    def on_collect_start(self, trainer: Any, pl_module: Any, plan: Any) -> None:
        self.reach("collect")

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.reach("train")

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self.reach("validation")


class Journal(RolloutCallback):
    """Writes down what is trained on."""

    def __init__(self, save: str | None) -> None:
        self.save = save
        self.batches: list[dict[str, Any]] = []
        self.chosen: list[list[int]] = []
        self.carried: list[int] = []

    def on_collect_end(self, trainer: Any, pl_module: Any, report: Any) -> None:
        self.chosen.append([group.draw_index for group in report.groups])
        self.carried.append(report.num_carried)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch.state_dict())

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if self.save and trainer.current_epoch == 0:
            trainer.save_checkpoint(self.save)


def _confused(*arguments: Any, **settings: Any) -> Any:
    """Chooses as the engine does, and says something else of it."""
    tokens, logprobs = choose(*arguments, **settings)
    return tokens, logprobs - 0.3


def main(folder: str, settings: dict[str, Any]) -> None:
    """Fits, and leaves `result-<rank>.pt`: batches, draws that were kept, and last weights."""
    atexit.register(lambda: os.write(2, f"Connected when the process ends: {dist.is_initialized()}.\n".encode()))
    world = int(os.environ["WORLD"])
    if settings.get("confused"):
        decoding.choose = _confused
    trouble = Trouble(**settings.get("trouble", {}))
    watch = RankWatch(**{"beat_seconds": 0.5, "lost_seconds": 15.0, "grace_seconds": 3.0} | settings.get("watch", {}))
    fsdp = {"fsdp": "sharded", "fsdp_full": "full"}.get(settings["strategy"])
    strategy = FSDP1OnCPU(fsdp) if fsdp else {"single": "auto"}.get(settings["strategy"], settings["strategy"])
    journal = Journal(settings.get("save"))
    reported = [RolloutWriter("rollouts"), ReportWriter(every_n_iterations=1)] if settings.get("report") else []
    trainer = Trainer(
        accelerator="cpu", devices=world, strategy=strategy, max_epochs=settings.get("epochs", 2),
        accumulate_grad_batches=settings.get("accumulate", 2), logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=".",
        callbacks=[HealthWarnings(max_truncated_frac=1), IterationRecord("."), watch, journal, trouble, *reported],
        max_time=settings.get("max_time"),
    )  # fmt: skip
    model, tokenizer, train = folder, None, RunningSumProblems(40)
    if settings.get("given"):
        # As scripts have them: rows, and what they have loaded.
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), load_tokenizer(folder)
        train = [{"question": problem.text, "answer": problem.answer} for problem in train.problems()]
    policy = trouble.policy = PolicyModule(
        model,
        tokenizer=tokenizer,
        objective=DAPO(**settings.get("objective", {})),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
    )
    data = RolloutDataModule(
        train, trouble, val={"held_out": RunningSumProblems(5, seed=9)}, selector=AccuracyBand(),
        group_size=4, train_groups=8, minibatch_groups=4,
        rounds=Rounds(**{"round_prompts": 13, "min_pool": 0, **settings.get("rounds", {})}),
        sampling=Sampling(max_response_tokens=6), evaluation=Evaluation(group_size=2),
        downsample=MaxVariance(settings["keep"]) if "keep" in settings else None,
    )  # fmt: skip
    trainer.fit(policy, data, ckpt_path=settings.get("resume"))
    weights = {name: tensor.clone() for name, tensor in policy.full_weights()}
    result = {"batches": journal.batches, "chosen": journal.chosen, "weights": weights}
    torch.save({**result, "carried": journal.carried}, f"result-{RANK}.pt")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()))
