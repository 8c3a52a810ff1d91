"""An estimate of the memory of training's largest micro-batch, from shapes alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch

from lspo.cli.finding import Finding
from lspo.lightning_modules import PolicyModule

GIB = 2**30
NEAR = 0.8
LOGIT_COPIES = 3
"""Of the logits of one chunk, in float32: themselves, their softmax, their gradient."""


@dataclass(frozen=True)
class Shape:
    """What the estimate is made of.

    Args:
        parameters: Of the model.
        layers: Of the model.
        hidden: Width of a token between layers.
        intermediate: Width within the feed-forward part.
        vocabulary: Tokens.
        rows: Responses of the largest micro-batch.
        length: Tokens of the longest prompt and the longest response.
        chunk: Response tokens whose logits are in memory at a time.
        bytes: Of a number in a layer: 4, or 2 in mixed precision.
        weight_bytes: Of a number of the weights.
        checkpointing: Whether layers are computed again in the backward pass.
    """

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    rows: int
    length: int
    chunk: int
    bytes: int = 4
    weight_bytes: int = 4
    checkpointing: bool = False

    @property
    def state(self) -> int:
        """Weights, gradients, and the two moments of AdamW."""
        return 4 * self.parameters * self.weight_bytes

    @property
    def activations(self) -> int:
        """What layers keep for the backward pass: per token about 10 x hidden + 4 x intermediate numbers each.

        Measured on small Qwen2 and Llama models: 1.02 times that.

        Attention scores are not kept by the kernels that transformers picks by itself.
        """
        tokens = self.rows * self.length
        layer = tokens * (10 * self.hidden + 4 * self.intermediate) * self.bytes
        return layer + self.layers * tokens * self.hidden * self.bytes if self.checkpointing else self.layers * layer

    @property
    def logits(self) -> int:
        return min(self.chunk, self.rows * self.length) * self.vocabulary * 4 * LOGIT_COPIES

    @property
    def total(self) -> int:
        return self.state + self.activations + self.logits


def memory_findings(policy: Any, data: Any, trainer: Any, longest_prompt: int) -> list[Finding]:
    """The estimate beside what the device has; one line that it is not made, where it can't be."""
    if type(policy) is not PolicyModule:
        return [Finding("ok", f"not estimated, as {type(policy).__name__} is a module of your own")]
    shape = shape_of(policy, data, trainer, longest_prompt)
    words = (
        f"about {shape.total / GIB:.1f} GiB for the largest micro-batch of {shape.rows} x {shape.length} tokens: "
        f"weights, gradients and AdamW {shape.state / GIB:.1f}, layers {shape.activations / GIB:.1f}, "
        f"logits {shape.logits / GIB:.1f}. From shapes, on one device that holds the whole model; "
        "an engine in the same memory comes on top"
    )
    there = available()
    tight = there is not None and shape.total > NEAR * there
    has = "" if there is None else f" The device has {there / GIB:.1f} GiB."
    remedy = " Raise trainer.accumulate_grad_batches, or set model.gradient_checkpointing=true." if tight else ""
    return [Finding("look" if tight else "ok", f"{words}.{has}{remedy}")]


def shape_of(policy: Any, data: Any, trainer: Any, longest_prompt: int) -> Shape:
    """The shapes of a run."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(policy.name_or_path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    text = config.get_text_config()
    precision = str(trainer.precision)
    half = precision.startswith(("bf16", "16"))
    bins = trainer.world_size * trainer.accumulate_grad_batches
    length = longest_prompt + data.sampling.max_response_tokens
    rows = -(-data.minibatch_groups * data.group_size // bins)
    if data.batches.max_micro_batch_tokens is not None:
        rows = max(1, min(rows, data.batches.max_micro_batch_tokens // length))
    return Shape(
        sum(parameter.numel() for parameter in model.parameters()),
        text.num_hidden_layers,
        text.hidden_size,
        getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        text.vocab_size,
        rows,
        length,
        policy.logits_chunk_tokens,
        bytes=2 if half else 4,
        weight_bytes=2 if precision in ("bf16-true", "16-true") else 4,
        checkpointing=policy.gradient_checkpointing,
    )


def available() -> int | None:
    """Memory of the first GPU, else of the machine; None where that can't be known."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
