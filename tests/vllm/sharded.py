"""One process of a test: a run by VLLMEngine with a policy that is cut by FSDP1, on several; prints JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from lightning.pytorch import Trainer

sys.path.append(str(Path(__file__).parents[1] / "ranks"))
from rank_strategies import FSDP1OnCPU

from lspo.datamodules import Evaluation, RolloutDataModule, Rounds
from lspo.lightning_modules import PolicyModule, RolloutCallback
from lspo.problems import RunningSumProblems
from lspo.rollout import Sampling, VLLMEngine
from lspo.sampling import AccuracyBand
from lspo.testing import ScriptedReward


class Probes(RolloutCallback):
    """Notes how far the engine is from the trainer, and what is trained on."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.chosen: list[list[int]] = []

    def on_collect_end(self, trainer, pl_module, report) -> None:
        self.gaps.append(trainer.datamodule.engine.metrics()["probe_gap"])
        self.chosen.append([group.draw_index for group in report.groups])


def main(folder: str) -> None:
    probes, world = Probes(), int(os.environ.get("WORLD_SIZE", "1"))
    trainer = Trainer(
        accelerator="cpu", devices=world, strategy=FSDP1OnCPU() if world > 1 else "auto", max_epochs=2, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        accumulate_grad_batches=2 // world, callbacks=[probes],
    )  # fmt: skip
    policy = PolicyModule(folder, optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3))
    data = RolloutDataModule(
        RunningSumProblems(40), ScriptedReward(), selector=AccuracyBand(), engine=VLLMEngine(max_model_len=64),
        # An evaluation of one prompt, of which the second rank has none.
        val={"one": RunningSumProblems(1, seed=9)}, evaluation=Evaluation(group_size=2),
        group_size=4, train_groups=4, minibatch_groups=4, rounds=Rounds(round_prompts=8, min_pool=0),
        sampling=Sampling(max_response_tokens=6),
    )  # fmt: skip
    trainer.fit(policy, data)
    print(json.dumps({"gaps": probes.gaps, "chosen": probes.chosen, "evaluated": policy.evaluation_results}))
    if world > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
