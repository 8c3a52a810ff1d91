"""Steps of lspo on a workload, in this process; leaves one line of JSON.

    python benchmarks/peers/ours.py 1m-tail MODEL LINES.jsonl --k 4 --steps 7

`compare.py` runs it, with the checkout that is measured on PYTHONPATH. What an older checkout does not report is left
out of the line.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import process
from workloads import (
    CLIP_HIGH,
    CLIP_LOW,
    CLIP_NORM,
    LEARNING_RATE,
    WARM_UP_STEPS,
    WEIGHT_DECAY,
    WORKLOADS,
    Workload,
    coin,
    questions,
)

PIECES = ("policy", "data", "engine", "sampling", "batches")


def settings(workload: Workload, k: int, turn: int) -> dict[str, dict[str, Any]]:
    """Arguments of each piece."""
    return {
        "policy": {},
        "data": {
            "group_size": workload.group_size,
            "train_groups": workload.num_prompts,
            "minibatch_groups": workload.num_prompts,
            "seed": turn,
        },
        "engine": {"max_batch_responses": workload.num_responses},
        "sampling": {"max_response_tokens": workload.max_response_tokens},
        "batches": {},
        "trainer": {"accumulate_grad_batches": k, "gradient_clip_val": CLIP_NORM},
    }


def override(found: dict[str, dict[str, Any]], words: list[str]) -> None:
    """Puts `PIECE.NAME=VALUE` into the arguments; a value is JSON, or else a string."""
    for word in words:
        path, _, text = word.partition("=")
        piece, _, name = path.partition(".")
        if piece not in PIECES or not name or not text:
            raise SystemExit(f"Expected --set PIECE.NAME=VALUE with a piece of {', '.join(PIECES)}, but got {word!r}.")
        try:
            found[piece][name] = json.loads(text)
        except ValueError:
            found[piece][name] = text


def run(workload: Workload, model: str, k: int, steps: int, turn: int, words: list[str]) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    from lightning.pytorch import Trainer, seed_everything
    from step_clock import StepClock

    import lspo
    from lspo.datamodules import RolloutDataModule
    from lspo.lightning_modules import PolicyModule
    from lspo.objectives import DAPO
    from lspo.problems import Problem, ProblemSet
    from lspo.rewards import Reward
    from lspo.rollout import Sampling, TransformersEngine
    from lspo.sampling import KeepAll

    class Sums(ProblemSet):
        def problems(self) -> Any:
            return (Problem(str(place), text, "") for place, text in enumerate(questions()))

    class Coin(Reward):
        def score(self, response: str, answer: str) -> float:
            return coin(response)

    seed_everything(turn)
    arguments = settings(workload, k, turn)
    override(arguments, words)
    if arguments["batches"]:
        from lspo.datamodules import Batches

        arguments["data"]["batches"] = Batches(**arguments["batches"])
    clock = StepClock()
    policy = PolicyModule(
        model,
        objective=DAPO(clip_low=CLIP_LOW, clip_high=CLIP_HIGH),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY),
        **arguments["policy"],
    )
    data = RolloutDataModule(
        Sums(), Coin(), selector=KeepAll(), engine=TransformersEngine(**arguments["engine"]),
        sampling=Sampling(**arguments["sampling"]), **arguments["data"],
    )  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=steps, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[clock], log_every_n_steps=1,
        **arguments["trainer"],
    )  # fmt: skip
    trainer.fit(policy, data)
    return {
        "who": "lspo",
        "setting": k,
        "commit": process.commit(Path(lspo.__file__).parents[1]),
        "loaded_mib": clock.loaded,
        "peak_mib": process.peak_mib(),
        "threads": torch.get_num_threads(),
        "steps": clock.rows[WARM_UP_STEPS:],
        "versions": {"lspo": lspo.__version__} | process.versions("torch", "transformers", "lightning"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("model")
    parser.add_argument("lines", type=Path)
    parser.add_argument("--k", type=int, default=1, help="micro-batches of the step")
    parser.add_argument("--steps", type=int, default=WARM_UP_STEPS + 5, help="all steps, those not counted included")
    parser.add_argument("--turn", type=int, default=0, help="seed")
    parser.add_argument("--label", default="lspo")
    parser.add_argument("--set", action="append", default=[], metavar="PIECE.NAME=VALUE")
    arguments = parser.parse_args()
    process.count_processor_seconds()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what the run prints is not what is measured
    found = run(
        WORKLOADS[arguments.workload], arguments.model, arguments.k, arguments.steps, arguments.turn, arguments.set
    )
    given = {"workload": arguments.workload, "label": arguments.label, "turn": arguments.turn}
    process.leave_line(arguments.lines, given | found)


if __name__ == "__main__":
    main()
