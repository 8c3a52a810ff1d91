"""Gradients of chunked log-probs through heads of many kinds, cut in many ways; compared in `test_heads.py`.

Run by each of two processes. Each sees its own rollouts; the reference is one plain module on all of them, its logits
whole. What is compared is what one step of plain descent at rate 1 changes: the gradient.
"""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision, MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from lspo.models.layer_head import LayerHead
from lspo.models.logprobs import response_logprobs

torch.set_num_threads(1)
H, V, WORLD, CHUNK = 6, 13, 2, 3
STRATEGIES = ("ddp", "fsdp1", "fsdp1-orig", "fsdp2", "fsdp2-kept")
HEADS = ("tied", "tied-softcap", "bias", "bias-softcap", "lora", "frozen", "hooked", "unit")
NUMBERS = ("float64", "float32", "bf16-mixed")


class Adapted(nn.Module):
    """A frozen layer with a low-rank one beside it, as LoRA has it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(H, 2, bias=False), nn.Linear(2, V, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.base(hidden) + 0.5 * self.up(self.down(hidden))


class Policy(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embedding = nn.Embedding(V, H)
        self.layer = nn.Sequential(nn.Linear(H, H), nn.Tanh())
        self.head: nn.Module = nn.Linear(H, V, bias="bias" in kind)
        if "tied" in kind:
            self.head.weight = self.embedding.weight
        if kind == "lora":
            self.head = Adapted(self.head)
        if kind == "frozen":
            self.head.requires_grad_(False)
        if kind == "hooked":
            self.head.register_forward_hook(lambda module, given, logits: 2 * logits)

    @property
    def _behind(self) -> Any:
        return (lambda logits: 2 * torch.tanh(logits / 2)) if "softcap" in self.kind else None

    def forward(self, batch: dict[str, Tensor], whole: bool = False) -> tuple[Tensor, Tensor]:
        hidden = self.layer(self.embedding(batch["token_ids"]))
        if not whole:
            head = LayerHead(self.head, self._behind)
            logprobs, entropies = response_logprobs(
                hidden, **batch, head=head, temperature=0.9, chunk_tokens=CHUNK, with_entropy=True
            )
            assert entropies is not None
            return logprobs, entropies
        logits = self.head(hidden[:, 1:-1])
        logits = (logits if self._behind is None else self._behind(logits)) / 0.9
        distribution = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
        logprobs = distribution.gather(-1, batch["token_ids"][:, 2:, None]).squeeze(-1)
        entropies = -(distribution.exp() * distribution).sum(dim=-1)
        return logprobs * batch["response_mask"], entropies * batch["response_mask"]


def batches(rank: int) -> list[dict[str, Tensor]]:
    """Two micro-batches: prompts of 2 tokens, responses of unlike lengths; one rank has a micro-batch without any."""
    generator = torch.Generator().manual_seed(5 + rank)
    found = []
    for lengths in ([[5, 2, 4], [1, 0, 3]], [[3, 3, 1], [0, 0, 0]])[rank]:
        found.append(
            {
                "token_ids": torch.randint(V, (3, 7), generator=generator),
                "prompt_lengths": torch.full((3,), 2),
                "response_mask": torch.arange(5) < torch.tensor(lengths)[:, None],
            }
        )
    return found


def loss_of(values: tuple[Tensor, Tensor], batch: dict[str, Tensor]) -> Tensor:
    logprobs, entropies = values
    weights = torch.sin(batch["token_ids"][:, 2:].to(logprobs.dtype) + 1)
    return ((weights * logprobs + 0.3 * weights.square() * entropies) * batch["response_mask"]).sum() / 10


def cut(policy: Policy, strategy: str, numbers: str) -> Any:
    """The policy as the strategy has it."""
    mixed = numbers == "bf16-mixed"
    types: dict[str, Any] = {"param_dtype": torch.bfloat16, "reduce_dtype": torch.float32}
    if strategy == "ddp":
        return DistributedDataParallel(policy)
    if strategy.startswith("fsdp1"):
        settings: dict[str, Any] = {
            "device_id": torch.device("cpu"), "use_orig_params": strategy == "fsdp1-orig",
            "mixed_precision": MixedPrecision(**types) if mixed else None,
        }  # fmt: skip
        policy.layer = FullyShardedDataParallel(policy.layer, **settings)
        if policy.kind == "unit":
            policy.head = FullyShardedDataParallel(policy.head, **settings)
        return FullyShardedDataParallel(policy, **settings)
    settings = {"mesh": init_device_mesh("cpu", (WORLD,)), "reshard_after_forward": strategy == "fsdp2"}
    if mixed:
        settings["mp_policy"] = MixedPrecisionPolicy(**types)
    fully_shard(policy.layer, **settings)
    if policy.kind == "unit":
        fully_shard(policy.head, **settings)
    return fully_shard(policy, **settings)


def weights_of(model: Any, policy: Policy, strategy: str) -> dict[str, Tensor]:
    gathered: Any = contextlib.nullcontext()
    if strategy.startswith("fsdp1"):
        gathered = FullyShardedDataParallel.summon_full_params(model, writeback=False)
    with gathered:
        return {
            name.replace("_fsdp_wrapped_module.", ""): (
                tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
            ).detach().clone()
            for name, tensor in policy.named_parameters()
        }  # fmt: skip


def context(strategy: str, numbers: str) -> Any:
    """FSDP casts weights by itself, and autocast the rest, as in training."""
    return torch.autocast("cpu", torch.bfloat16, enabled=numbers == "bf16-mixed")


def run(strategy: str, kind: str, numbers: str) -> dict[str, Any]:
    torch.manual_seed(0)
    plain = Policy(kind).to(torch.float64 if numbers == "float64" else torch.float32)
    policy, rank = copy.deepcopy(plain), dist.get_rank()
    before = {name: tensor.detach().clone() for name, tensor in plain.named_parameters()}
    for number in range(WORLD):
        for batch in batches(number):
            with context(strategy, numbers):
                values = plain(batch, whole=True)
            loss_of(values, batch).backward()
    expected = {name: t.grad for name, t in plain.named_parameters() if t.grad is not None}

    model = cut(policy, strategy, numbers)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    own = batches(rank)
    for batch in own:
        with context(strategy, numbers):
            values = model(batch)
        (WORLD * loss_of(values, batch)).backward()
    optimizer.step()
    after = weights_of(model, policy, strategy)
    return {"expected": expected, "found": {name: before[name] - after[name] for name in before}}


def ways() -> list[str]:
    found = []
    for strategy in STRATEGIES:
        for kind in HEADS:
            if kind == "unit" and not strategy.startswith("fsdp"):
                continue  # DDP has none
            if kind in ("lora", "frozen") and strategy == "fsdp1":
                continue  # it refuses frozen parameters beside others
            found += [f"{strategy}/{kind}/{numbers}" for numbers in NUMBERS]
    return found


def main(out: str) -> None:
    dist.init_process_group("gloo", rank=int(os.environ["LOCAL_RANK"]), world_size=WORLD)
    results: dict[str, Any] = {}
    for way in ways():
        try:
            results[way] = run(*way.split("/"))
        except Exception as error:
            error.add_note(way)
            raise
    if dist.get_rank() == 0:
        torch.save(results, Path(out) / "heads.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
