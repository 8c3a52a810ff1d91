"""Supervised learning from demonstrations: its loss, its order, and when it stops."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from lspo.lightning_modules.supervised import DemonstrationLoader, SupervisedModule
from lspo.models.tokenizers import character_tokenizer
from lspo.problems import Problem
from lspo.problems.demonstrations import Demonstrations
from lspo.rewards import ExactMatchReward, Reward
from lspo.testing import tiny_model


class Copies(Demonstrations):
    """`12=` is answered with `12#2`: short, of several lengths, learnt in a few steps."""

    def __init__(self, digits: str = "0123456789") -> None:
        self.digits = digits

    def tokenizer(self) -> Any:
        return character_tokenizer("0123456789=#")

    def draw(self, step: int, count: int, source: random.Random) -> list[tuple[str, str]]:
        pairs = []
        for _ in range(count):
            text = "".join(source.choices(self.digits, k=source.randint(1, 3)))
            pairs.append((f"{text}=", f"{text}#{text[-1]}"))
        return pairs

    def checks(self) -> list[Problem]:
        return [Problem(f"copy-{digit}", f"{digit}=", digit) for digit in self.digits]

    def reward(self) -> Reward:
        return ExactMatchReward()


def make_module(demonstrations: Demonstrations, **settings: Any) -> SupervisedModule:
    tokenizer = demonstrations.tokenizer()
    defaults: dict[str, Any] = {
        "learning_rate": 1e-2, "betas": (0.9, 0.98), "weight_decay": 0.0, "warmup_steps": 2, "stop_accuracy": 0.9,
        "check_every_steps": 10, "max_response_tokens": 6,
    }  # fmt: skip
    return SupervisedModule(tiny_model(tokenizer).train(), tokenizer, demonstrations, **{**defaults, **settings})


def make_loader(demonstrations: Demonstrations, *, steps: int = 3, seed: int = 0) -> DemonstrationLoader:
    return DemonstrationLoader(demonstrations, demonstrations.tokenizer(), steps=steps, batch_size=8, seed=seed)


def fit(module: SupervisedModule, loader: DemonstrationLoader) -> Trainer:
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_model_summary=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(module, loader)
    return trainer


def test_the_loss_equals_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean over all response tokens, the end token among them, of -log p(token | all before it), one row at a time."""
    demonstrations = Copies()
    module = make_module(demonstrations)
    monkeypatch.setattr(module, "log", lambda *args, **settings: None)
    model, tokenizer = module.model.double(), module.tokenizer
    pairs = demonstrations.draw(0, 8, random.Random("demonstrations-0"))

    total, count = 0.0, 0
    for prompt, response in pairs:
        before = tokenizer(prompt)["input_ids"]
        for token in [*tokenizer(response)["input_ids"], tokenizer.eos_token_id]:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([before])).logits[0, -1]
            total -= float(logits.log_softmax(dim=-1)[token])
            count += 1
            before = [*before, token]

    (batch,) = make_loader(demonstrations, steps=1)
    assert len({len(response) for _, response in pairs}) > 1  # or padding would not be tried
    loss = module.training_step(batch, 0)
    torch.testing.assert_close(loss, torch.tensor(total / count, dtype=torch.float64))


def test_the_loss_trains_every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    module = make_module(Copies())
    monkeypatch.setattr(module, "log", lambda *args, **settings: None)
    (batch,) = make_loader(Copies(), steps=1)
    module.training_step(batch, 0).backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in module.parameters())


def test_a_batch_holds_prompt_response_and_end() -> None:
    loader = make_loader(Copies(), steps=1)
    (batch,) = loader
    tokenizer = loader.tokenizer
    for row, (prompt, response) in enumerate(Copies().draw(0, 8, random.Random("demonstrations-0"))):
        ids = [*tokenizer(prompt + response)["input_ids"], tokenizer.eos_token_id]
        padding = batch["token_ids"].shape[1] - len(ids)
        assert batch["token_ids"][row].tolist() == ids + [tokenizer.pad_token_id] * padding
        assert batch["prompt_lengths"][row] == len(prompt)
        assert batch["response_mask"][row].sum() == len(response) + 1


def test_the_loader_gives_the_same_batches_for_the_same_seed() -> None:
    loader = make_loader(Copies(), seed=1)
    first, again, other = list(loader), list(loader), list(make_loader(Copies(), seed=2))
    assert len(first) == len(loader) == 3
    for one, two in zip(first, again, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one["token_ids"], two["token_ids"]) for one, two in zip(first, other, strict=True))
    assert not torch.equal(first[0]["token_ids"], first[1]["token_ids"])


def test_learning_stops_at_the_accuracy() -> None:
    module = make_module(Copies("12"), stop_accuracy=0.9)
    trainer = fit(module, make_loader(Copies("12"), steps=400))
    assert module.accuracy >= 0.9
    assert trainer.global_step < 400
    assert trainer.global_step % 10 == 0


def test_accuracy_is_that_of_the_weights_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the last step is not one of those that are checked."""
    module = make_module(Copies(), check_every_steps=3)
    checked = []

    def accuracy(self: SupervisedModule) -> float:
        checked.append(self.trainer.global_step)
        return 0.25

    monkeypatch.setattr(SupervisedModule, "sampled_accuracy", accuracy)
    fit(module, make_loader(Copies(), steps=7))
    assert checked == [3, 6, 7]
    assert module.accuracy == 0.25


def test_sampled_accuracy_leaves_mode_and_random_state_alone() -> None:
    module = make_module(Copies())
    state = torch.get_rng_state()
    assert 0 <= module.sampled_accuracy() <= 1
    assert module.sampled_accuracy() == module.sampled_accuracy()
    assert module.model.training
    assert torch.equal(torch.get_rng_state(), state)


def test_the_rate_warms_up_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    module = make_module(Copies(), learning_rate=0.04, warmup_steps=4)
    rates = []
    monkeypatch.setattr(
        module, "on_train_batch_start", lambda *_: rates.append(module.optimizers().param_groups[0]["lr"])
    )
    fit(module, make_loader(Copies(), steps=6))
    assert rates == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.04, 0.04])


def test_prompts_and_responses_have_no_tokens_of_the_tokenizer_between_them() -> None:
    """Start and end are once there, though this tokenizer puts both around every text."""
    from tokenizers.processors import TemplateProcessing

    loader = make_loader(Copies(), steps=1)
    tokenizer = loader.tokenizer
    plain = next(iter(loader))
    tokenizer.add_special_tokens({"bos_token": "<bos>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>",
        special_tokens=[("<bos>", tokenizer.bos_token_id), ("<eos>", tokenizer.eos_token_id)],
    )
    around = next(iter(loader))
    assert torch.equal(around["token_ids"][:, 0], torch.full((8,), tokenizer.bos_token_id))
    assert torch.equal(around["token_ids"][:, 1:], plain["token_ids"])
    assert torch.equal(around["prompt_lengths"], plain["prompt_lengths"] + 1)
    assert torch.equal(around["response_mask"], plain["response_mask"])
