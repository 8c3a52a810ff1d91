"""The same steps by TRL's GRPOTrainer, in this process; leaves one line of JSON.

    .venv-trl/bin/python benchmarks/peers/theirs.py 1m-tail MODEL LINES.jsonl --micro 16 --steps 7

One generation is one optimizer step: `gradient_accumulation_steps` is the number of micro-batches in it, so TRL needs
no pass for old log-probs. The line says how often `generate` was called, and log-probs computed without a gradient.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
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


def settings(workload: Workload, micro: int, steps: int, turn: int) -> dict[str, Any]:
    """Arguments of `GRPOConfig`."""
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": workload.num_responses // micro,
        "num_generations": workload.group_size,
        "max_completion_length": workload.max_response_tokens,
        "max_steps": steps,
        "seed": turn,
        # The same loss. No KL term, so no reference model.
        "loss_type": "dapo",
        "beta": 0.0,
        "epsilon": CLIP_LOW,
        "epsilon_high": CLIP_HIGH,
        "scale_rewards": "group",
        # The same optimizer.
        "learning_rate": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "max_grad_norm": CLIP_NORM,
        "lr_scheduler_type": "constant",
        # The same sampling.
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        # float32 on a CPU. Recomputing activations, TRL's default, would cost time and is not needed.
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        # Nothing is written; metrics are made at every step, as lspo makes them.
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }


def override(found: dict[str, Any], words: list[str]) -> None:
    """Puts `NAME=VALUE` into the arguments; a value is JSON, or else a string."""
    for word in words:
        name, _, text = word.partition("=")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text


def run(workload: Workload, folder: str, micro: int, steps: int, turn: int, words: list[str]) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    rows: list[dict[str, float]] = []
    row: dict[str, float] = {}

    def add(name: str, amount: float) -> None:
        row[name] = row.get(name, 0) + amount

    def reward(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        add("tokens", sum(len(one) for one in completion_ids))
        add("responses", len(completions))
        return [coin(text) for text in completions]

    class StepClock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.loaded = process.resident_mib()
            process.forget_peak()
            self.began = time.perf_counter()

        def on_step_end(self, settings: Any, state: Any, control: Any, **_: Any) -> None:
            now = time.perf_counter()
            done = sum(one["optimizer_steps"] for one in rows)
            rows.append(row | {"seconds": now - self.began, "optimizer_steps": state.global_step - done})
            row.clear()
            self.began = now

    class Watched(GRPOTrainer):
        """Counts what its step does, and changes nothing."""

        def _get_per_token_logps_and_entropies(self, model: Any, *given: Any, **named: Any) -> Any:
            if not torch.is_grad_enabled():
                add("passes_without_gradient", 1)
            return super()._get_per_token_logps_and_entropies(model, *given, **named)

        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            add("trained", int(inputs["completion_mask"].sum()))
            add("computed", inputs["completion_ids"].numel() + inputs["prompt_ids"].numel())
            add("real", int(inputs["completion_mask"].sum() + inputs["prompt_mask"].sum()))
            return super()._compute_loss(model, inputs)

        def _generate_single_turn(self, *given: Any, **named: Any) -> Any:
            add("generations", 1)
            started = time.perf_counter()
            found = super()._generate_single_turn(*given, **named)
            add("generate", time.perf_counter() - started)
            return found

    clock = StepClock()
    with tempfile.TemporaryDirectory() as scratch:
        arguments = settings(workload, micro, steps, turn)
        override(arguments, words)
        trainer = Watched(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(folder),
            reward_funcs=reward,
            args=GRPOConfig(output_dir=scratch, **arguments),
            train_dataset=Dataset.from_list([{"prompt": text} for text in questions()]),
            callbacks=[clock],
        )
        trainer.train()
    return {
        "who": "trl",
        "setting": micro,
        "loaded_mib": clock.loaded,
        "peak_mib": process.peak_mib(),
        "threads": torch.get_num_threads(),
        "steps": rows[WARM_UP_STEPS:],
        "versions": process.versions("trl", "torch", "transformers", "accelerate"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("model")
    parser.add_argument("lines", type=Path)
    parser.add_argument("--micro", type=int, default=16, help="responses of a micro-batch")
    parser.add_argument("--steps", type=int, default=WARM_UP_STEPS + 5, help="all steps, those not counted included")
    parser.add_argument("--turn", type=int, default=0, help="seed")
    parser.add_argument("--label", default="trl")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of GRPOConfig")
    arguments = parser.parse_args()
    process.count_processor_seconds()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what the run prints is not what is measured
    found = run(
        WORKLOADS[arguments.workload], arguments.model, arguments.micro, arguments.steps, arguments.turn, arguments.set
    )
    given = {"workload": arguments.workload, "label": arguments.label, "turn": arguments.turn}
    process.leave_line(arguments.lines, given | found)


if __name__ == "__main__":
    main()
