"""One process of a test: a run by VLLMServerEngine, alone or one of several ranks; prints what came of it as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from lspo.datamodules import Evaluation, RolloutDataModule, Rounds
from lspo.datamodules.exchange import all_gather_objects
from lspo.held import is_here
from lspo.lightning_modules import PolicyModule, RolloutCallback
from lspo.problems import RunningSumProblems
from lspo.rollout import Sampling, VLLMServerEngine
from lspo.sampling import AccuracyBand
from lspo.testing import ScriptedReward


class Watched(VLLMServerEngine):
    """Counts how often it sends weights, and shows a file when it is amid the round of the second iteration."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.sent = 0
        self.interruptions = 0.0

    def _send(self, server: Any) -> None:
        self.sent += 1
        super()._send(server)

    def _written(self, *arguments: Any) -> Any:
        for item in super()._written(*arguments):
            if self.version == 1:
                Path(f"amid-{self._rank}").touch()
            yield item

    def metrics(self) -> dict[str, float]:
        found = super().metrics()
        self.interruptions = max(self.interruptions, found.get("interruptions", 0.0))
        return found


class Probes(RolloutCallback):
    """Notes how far the engine is from the trainer, and what is trained on."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.chosen: list[Any] = []

    def on_collect_end(self, trainer, pl_module, report) -> None:
        self.gaps.append(trainer.datamodule.engine.metrics()["probe_gap"])
        # A rank has the tokens of what it wrote; this hook runs on all of them.
        own = {
            group.draw_index: [rollout.token_ids.tolist() for rollout in group.rollouts]
            for group in filter(is_here, report.groups)
        }
        tokens = {index: rows for part in all_gather_objects(own) for index, rows in part.items()}
        self.chosen.append([(group.draw_index, tokens[group.draw_index]) for group in report.groups])


def main(folder: str, url: str, transfer: str, strategy: str) -> None:
    torch.set_num_threads(1)
    probes, world = Probes(), int(os.environ.get("WORLD_SIZE", "1"))
    engine = Watched(
        url=url.split(","), transfer=transfer, folder="weights", dtype="float32", max_requests=2, absence_seconds=180.0
    )  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", devices=world, strategy=strategy, max_epochs=2, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        accumulate_grad_batches=2 // world, callbacks=[probes],
    )  # fmt: skip
    policy = PolicyModule(folder, optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3))
    data = RolloutDataModule(
        RunningSumProblems(80), ScriptedReward(), selector=AccuracyBand(), engine=engine,
        # An evaluation of one prompt, of which the second rank has none.
        val={"one": RunningSumProblems(1, seed=9)}, evaluation=Evaluation(group_size=2),
        group_size=4, train_groups=4, minibatch_groups=4, rounds=Rounds(round_prompts=40, min_pool=0),
        sampling=Sampling(max_response_tokens=12),
    )  # fmt: skip
    trainer.fit(policy, data)
    print(
        json.dumps(
            {
                "gaps": probes.gaps, "chosen": probes.chosen, "evaluated": policy.evaluation_results,
                "sent": engine.sent, "interruptions": engine.interruptions,
            }
        )
    )  # fmt: skip
    if world > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
