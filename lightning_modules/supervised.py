"""Supervised learning from demonstrations, as a small LightningModule."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lspo.batching.collate import pad_right
from lspo.models.causal_lm import model_logprobs
from lspo.models.encoding import encode_prompts, encode_texts
from lspo.objectives.masking import token_mean
from lspo.problems.demonstrations import Demonstrations
from lspo.rewards import score_groups
from lspo.rollout import Sampling, TransformersEngine
from lspo.rollout.local_policy import LocalPolicy

LINE_EVERY_STEPS = 100
"""Without a bar, steps from one line to the next."""


class DemonstrationLoader:
    """Batches of demonstrations, tokenized: the same ones for the same seed.

    Args:
        demonstrations: Where from.
        tokenizer: Theirs.
        steps: Number of batches.
        batch_size: Demonstrations of a batch.
        seed: Of the draw.
    """

    def __init__(
        self, demonstrations: Demonstrations, tokenizer: Any, *, steps: int, batch_size: int, seed: int
    ) -> None:
        self.demonstrations, self.tokenizer = demonstrations, tokenizer
        self.steps, self.batch_size, self.seed = steps, batch_size, seed

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        source = random.Random(f"demonstrations-{self.seed}")
        for step in range(self.steps):
            yield self._batch(self.demonstrations.draw(step, self.batch_size, source))

    def _batch(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
        end = [self.tokenizer.eos_token_id]
        prompts = encode_prompts(self.tokenizer, [prompt for prompt, _ in pairs])
        responses = [ids + end for ids in encode_texts(self.tokenizer, [response for _, response in pairs])]
        lengths = torch.tensor([len(response) for response in responses])
        return {
            "token_ids": pad_right(
                [prompt + response for prompt, response in zip(prompts, responses, strict=True)],
                value=self.tokenizer.pad_token_id,
            ),
            "prompt_lengths": torch.tensor([len(prompt) for prompt in prompts]),
            "response_mask": torch.arange(int(lengths.max()))[None, :] < lengths[:, None],
        }


class SupervisedModule(LightningModule):
    """Minimises the mean negative log-prob of the responses' tokens; stops when sampled answers are right often enough.

    Args:
        model: A transformers causal language model.
        tokenizer: Its tokenizer.
        demonstrations: Gives the problems that accuracy is measured on, and the reward.
        learning_rate: Peak, after `warmup_steps`; constant then.
        betas: AdamW's.
        weight_decay: AdamW's.
        warmup_steps: Steps of linear warm-up.
        stop_accuracy: Sampled accuracy, 0..1, at which learning ends.
        check_every_steps: Steps between two measurements.
        max_response_tokens: Limit of the responses sampled for it.
        check_group_size: Responses for a problem.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        demonstrations: Demonstrations,
        *,
        learning_rate: float,
        betas: tuple[float, float],
        weight_decay: float,
        warmup_steps: int,
        stop_accuracy: float,
        check_every_steps: int,
        max_response_tokens: int,
        check_group_size: int = 2,
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.demonstrations = model, tokenizer, demonstrations
        self.learning_rate, self.betas, self.weight_decay = learning_rate, betas, weight_decay
        self.warmup_steps = warmup_steps
        self.stop_accuracy, self.check_every_steps = stop_accuracy, check_every_steps
        self.sampling = Sampling(max_response_tokens=max_response_tokens)
        self.check_group_size = check_group_size
        self.accuracy = 0.0
        self.steps_done = 0

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        mask = batch["response_mask"]
        logprobs, _ = model_logprobs(self.model, batch["token_ids"], batch["prompt_lengths"], mask, chunk_tokens=8192)
        loss = token_mean(-logprobs, mask)
        self.log("loss", loss, batch_size=len(mask))
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        done = self.steps_done = batch_idx + 1
        if done % self.check_every_steps == 0 or done == self.trainer.num_training_batches:
            self.accuracy = self.sampled_accuracy()
            self.log("accuracy", self.accuracy, prog_bar=True, batch_size=1)
            if self.trainer.progress_bar_callback is None and done % LINE_EVERY_STEPS == 0:
                rank_zero_info(
                    f"Supervised start: step {done}, sampled accuracy {self.accuracy:.2f} (ends at "
                    f"{self.stop_accuracy}, or after {self.trainer.num_training_batches} steps)"
                )
            if self.accuracy >= self.stop_accuracy:
                self.trainer.should_stop = True

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay
        )
        warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / self.warmup_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": warm_up, "interval": "step"}}

    def sampled_accuracy(self) -> float:
        """Share of correct answers to the check problems, sampled at temperature 1."""
        # The run that follows makes its own check, once; here it would come with every evaluation.
        engine = TransformersEngine(max_batch_responses=512, verify=False)
        engine.setup(LocalPolicy(self.model, self.tokenizer))
        engine.update()
        problems = [problem.prompt(self.tokenizer) for problem in self.demonstrations.checks()]
        groups = engine.generate(
            problems, group_size=self.check_group_size, sampling=self.sampling, keys=range(len(problems))
        )
        scored = score_groups(self.demonstrations.reward(), list(groups))
        verdicts = [score.accuracy for group in scored for score in group.scores]
        return sum(verdicts) / len(verdicts)
