"""Trains a tiny policy in many ways; run once by each of a number of processes, and compared in `test_strategies.py`.

Each way starts from the same weights and sees the same mini-batches, cut differently.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from rank_strategies import FSDP1OnCPU, FullPrecision

import lspo.lightning_modules.policy as policy_file
from lspo import objectives
from lspo.batching.deal import BatchLayout, deal
from lspo.collecting.collect import collect
from lspo.collecting.plan import CollectPlan
from lspo.lightning_modules import FSDP2Strategy, PolicyModule
from lspo.rollout import Sampling, TransformersEngine
from lspo.rollout.sync_check import PROBE_SAMPLING, probe_gap, probe_prompts
from lspo.sampling import KeepAll
from lspo.testing import ListPrompts, ScriptedEngine, ScriptedReward

torch.set_num_threads(1)
STEPS, GROUPS = 4, 6


def all_objectives() -> dict[str, objectives.Objective]:
    """Every objective by name, as far as settings can be guessed, and the terms that not every one has."""
    found: dict[str, objectives.Objective] = {}
    for name in objectives.__all__:
        kind = getattr(objectives, name)
        if isinstance(kind, type) and issubclass(kind, objectives.Objective) and not inspect.isabstract(kind):
            given = {"max_response_tokens": 30} if "max_response_tokens" in {f.name for f in fields(kind)} else {}
            found[name] = kind(**given)
    found["DAPO-entropy"] = objectives.DAPO(entropy_coef=0.01)
    found["GRPO-dual_clip"] = objectives.GRPO(dual_clip=1.1)
    found["GRPO-kl"] = objectives.GRPO(kl_coef=0.5)
    found["DAPO-kl-k1-importance"] = objectives.DAPO(kl_coef=0.5, kl="k1", kl_importance=True)
    found["GSPO-kl-k2-importance"] = objectives.GSPO(kl_coef=0.5, kl="k2", kl_importance=True)
    return found


class Batches(LightningDataModule):
    """Mini-batches of very unlike lengths, each dealt to this rank as training does."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        plan = CollectPlan(
            iteration=0, train_groups=steps * GROUPS, group_size=4, round_prompts=steps * GROUPS, min_pool=0,
            sampling=Sampling(max_response_tokens=30),
        )  # fmt: skip
        self.groups = collect(ListPrompts(steps * GROUPS), ScriptedEngine(), ScriptedReward(), KeepAll(), plan).groups

    def train_dataloader(self) -> Any:
        trainer: Any = self.trainer
        policy = trainer.lightning_module
        layout = BatchLayout(
            train_groups=self.steps * GROUPS, minibatch_groups=GROUPS, accumulate=trainer.accumulate_grad_batches,
            data_parallel_size=policy.data_parallel_size,
        )  # fmt: skip
        dealt = deal(self.groups, layout, rank=policy.data_parallel_rank, pad_token_id=0, temperature=0.9)
        batches: Any = [batch for bins in dealt for batch in bins]
        return torch.utils.data.DataLoader(batches, batch_size=None)


class Policy(PolicyModule):
    """Weights that sampled are made up: so far from the present ones that some ratios are clipped.

    So is the reference: by its own weights' KL the first gradient would not be moved.
    """

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if self._reference is not None:
            for parameter in self._reference.model.parameters():
                parameter.mul_(1.1)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        position = torch.arange(batch.response_mask.shape[1])[None, :]
        shift = 0.3 * torch.sin(position + 3 * batch.advantages[:, None])
        old = self.logprobs(batch)
        batch.old_logprobs = old + shift.to(old)
        batch.ref_logprobs = self.ref_logprobs(batch)


def run(folder: str, way: dict[str, Any]) -> dict[str, Any]:
    """Trains in one way; returns what changed, or the last weights, and what the trained policy writes."""
    torch.manual_seed(0)
    dtype = getattr(torch, way.get("dtype", "float32"))
    policy_file.weight_dtype = lambda precision: dtype
    steps = way.get("steps", STEPS)
    sgd = way.get("sgd", dtype == torch.float64)
    policy = Policy(
        folder,
        objective=all_objectives()[way.get("objective", "DAPO")],
        # One step of plain descent at rate 1: what changes is the gradient.
        optimizer=(lambda p: torch.optim.SGD(p, lr=1.0)) if sgd else (lambda p: torch.optim.AdamW(p, lr=1e-4)),
        gradient_checkpointing=way.get("checkpointing", False),
        log_entropy=False,
    )
    offload = way.get("offload", False)
    strategies: dict[str, Any] = {
        "single": "auto",
        "ddp": "ddp",
        "fsdp": FSDP1OnCPU(cpu_offload=offload),
        "fsdp2": FSDP2Strategy(cpu_offload=offload),
    }
    strategy = strategies[way["strategy"]]
    trainer = Trainer(
        accelerator="cpu", devices=1 if way["strategy"] == "single" else int(os.environ["WORLD"]), strategy=strategy,
        plugins=[FullPrecision("32-true")] if dtype == torch.float64 and way["strategy"] == "fsdp" else None,
        precision=None if dtype == torch.float64 else way.get("precision", "32-true"),
        use_distributed_sampler=False, max_epochs=1, accumulate_grad_batches=way["k"], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        gradient_clip_val=way.get("clip"), callbacks=[],
    )  # fmt: skip
    data = Batches(steps)
    starts: dict[str, Any] = {}

    class Start(Callback):
        def on_train_start(self, trainer: Any, module: Any) -> None:
            starts.update({name: tensor.clone() for name, tensor in module.full_weights()})
            cut = sum(parameter.numel() for parameter in map(local, module.parameters()))
            starts["part"] = cut / sum(tensor.numel() for tensor in set(starts.values()))

    trainer.callbacks.append(Start())
    trainer.fit(policy, data)
    ends = {name: tensor.clone() for name, tensor in policy.full_weights()}
    part = starts.pop("part")
    engine = TransformersEngine(max_batch_responses=8)
    engine.setup(policy)
    # Ranks with different numbers of batches, and one with none.
    prompts = ListPrompts(10).draw(10)
    mine = prompts if trainer.global_rank == 0 else []
    written = engine.generate(
        [p for _, p in mine], group_size=4, sampling=Sampling(max_response_tokens=12), keys=[i for i, _ in mine]
    )
    tokens = {group.draw_index: [r.token_ids.tolist() for r in group.rollouts] for group in written}
    probes = probe_prompts(len(policy.tokenizer))
    probed = list(engine.generate(probes, group_size=1, sampling=PROBE_SAMPLING, keys=range(len(probes))))
    by_key = {group.draw_index: group.rollouts[0] for group in probed}
    gap = probe_gap(policy, probes, [by_key[key] for key in range(len(probes))])
    assert starts.keys() == ends.keys()
    changed = {name: starts[name] - ends[name] for name in ends} if sgd else ends
    return {"changed": changed, "tokens": tokens, "part": part, "norm": float(policy._step.gradient_norm), "gap": gap}


def local(parameter: Any) -> Any:
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def ways(world: int) -> dict[str, dict[str, Any]]:
    """What this number of processes runs."""
    cuts = {"single-k1": ("single", 1), "single-k4": ("single", 4)} if world == 1 else {
        f"{strategy}-k2": (strategy, 2) for strategy in ("ddp", "fsdp", "fsdp2")
    }  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    for cut, (strategy, k) in cuts.items():
        base = {"strategy": strategy, "k": k}
        for name in all_objectives():
            found[f"gradient/{name}/{cut}"] = {**base, "objective": name, "dtype": "float64", "steps": 1}
        for name in ("DAPO", "GRPO", "GRPO-kl"):
            found[f"steps/{name}/{cut}"] = {**base, "objective": name}
        found[f"clipped/{cut}"] = {**base, "clip": 0.05}
        found[f"checkpointing/{cut}"] = {**base, "checkpointing": True}
        found[f"mixed/{cut}"] = {**base, "precision": "bf16-mixed"}
        found[f"mixed-gradient/{cut}"] = {**base, "precision": "bf16-mixed", "sgd": True, "steps": 1}
        if strategy.startswith("fsdp"):
            found[f"offload/{cut}"] = {**base, "offload": True}
    return found


def main(folder: str, out: str) -> None:
    world = int(os.environ["WORLD"])
    results = {}
    for name, way in ways(world).items():
        try:
            results[name] = run(folder, way)
        except Exception:
            # Ranks may be out of step now: the ways that are left are not tried.
            results[name] = {"error": traceback.format_exc()}
            break
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        torch.save(results, Path(out) / f"world{world}.pt")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
