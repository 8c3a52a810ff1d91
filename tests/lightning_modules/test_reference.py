"""The reference policy: the initial weights, frozen, outside of optimizer and checkpoints, in a resumed run too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch.testing import assert_close

from lspo.lightning_modules import PolicyModule
from lspo.models.causal_lm import load_model
from lspo.objectives import DAPO, GRPO
from lspo.rollout import Sampling
from lspo.testing import tiny_model
from lspo.types import RolloutBatch

KL = DAPO(kl_coef=0.1)


class Watch(Callback):
    """Keeps what was trained on and what was logged."""

    def __init__(self) -> None:
        self.batches: list[RolloutBatch] = []
        self.kl: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: RolloutBatch, batch_idx: int) -> None:
        self.batches.append(batch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.kl.append(float(trainer.callback_metrics["loss/kl"]))


@pytest.fixture
def other_folder(policy_folder: Path, tmp_path: Path) -> Path:
    """Other weights with the same tokenizer."""
    from lspo.models.causal_lm import load_tokenizer

    tokenizer = load_tokenizer(str(policy_folder))
    tiny_model(tokenizer, seed=9, initializer_range=0.3).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    return tmp_path / "other"


def slow_logprobs(folder: Path, batch: RolloutBatch, temperature: float) -> list[list[float]]:
    """Token by token from the model's own logits, one rollout at a time."""
    model = load_model(str(folder), dtype=torch.float32).eval()
    rows = []
    for tokens, prompt, mask in zip(batch.token_ids, batch.prompt_lengths, batch.response_mask, strict=True):
        end = int(prompt) + int(mask.sum())
        with torch.no_grad():
            logits = model(tokens[None, :end]).logits[0].double() / temperature
        values = logits.log_softmax(dim=-1)
        rows.append([float(values[place - 1, tokens[place]]) for place in range(int(prompt), end)])
    return rows


@pytest.mark.parametrize("other", [False, True], ids=["own", "named"])
def test_logprobs_are_those_of_the_initial_or_the_named_weights(
    make_run: Callable[..., Any], policy_folder: Path, other_folder: Path, other: bool
) -> None:
    watch = Watch()
    named = {"reference": str(other_folder)} if other else {}
    make_run([watch], policy={"objective": KL, **named}, data={"sampling": Sampling(6, temperature=0.7)}).fit()
    assert len(watch.batches) == 4
    for batch in watch.batches:
        assert batch.ref_logprobs.device.type == "cpu"
        expected = slow_logprobs(other_folder if other else policy_folder, batch, 0.7)
        for mine, its, mask in zip(batch.ref_logprobs, expected, batch.response_mask, strict=True):
            assert_close(mine[mask], torch.tensor(its), rtol=0, atol=2e-5)
            assert not mine[~mask].any()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
def test_the_divergence_begins_at_exactly_zero_and_grows(make_run: Callable[..., Any], precision: str) -> None:
    watch = Watch()
    run = make_run([watch], trainer={"precision": precision}, policy={"objective": KL})
    run.fit()
    assert watch.kl[0] == 0
    assert all(value > 0 for value in watch.kl[1:])


def test_with_one_optimizer_step_an_iteration_too(make_run: Callable[..., Any]) -> None:
    watch = Watch()
    make_run([watch], policy={"objective": KL}, data={"minibatch_groups": 8}).fit()
    assert all(batch.old_logprobs is None and batch.ref_logprobs is not None for batch in watch.batches)
    assert watch.kl[0] == 0 < watch.kl[1]


def test_the_term_holds_the_policy_back(make_run: Callable[..., Any]) -> None:
    """The same run with a heavy weight on the divergence stays nearer to where it began."""

    def divergence(coef: float) -> float:
        watch = Watch()
        make_run([watch], trainer={"max_epochs": 6}, policy={"objective": GRPO(kl_coef=coef)}).fit()
        return sum(watch.kl[6:])

    assert divergence(10.0) < 0.5 * divergence(1e-6)


def test_it_is_in_no_optimizer_and_in_no_checkpoint(make_run: Callable[..., Any], tmp_path: Path) -> None:
    sizes, names = [], []
    for objective in (DAPO(), KL):
        run = make_run(policy={"objective": objective}, trainer={"max_epochs": 1}).fit()
        path = tmp_path / f"{objective.kl_coef}.ckpt"
        run.trainer.save_checkpoint(path)
        names.append(list(torch.load(path, weights_only=True)["state_dict"]))
        sizes.append(path.stat().st_size)
        trained = {id(p) for group in run.trainer.optimizers[0].param_groups for p in group["params"]}
        assert trained == {id(p) for p in run.policy.model.parameters()}
    assert names[0] == names[1]
    assert abs(sizes[1] - sizes[0]) < 4096  # more settings and metrics, not 60 kB of weights


def test_frozen_in_evaluation_mode_and_gone_after_the_run(make_run: Callable[..., Any]) -> None:
    seen: list[Any] = []

    class Look(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            model = pl_module._reference.model
            seen.append((model.training, any(p.requires_grad for p in model.parameters())))
            assert not {id(p) for p in model.parameters()} & {id(p) for p in pl_module.parameters()}

    run = make_run([Look()], policy={"objective": KL}, trainer={"max_epochs": 1}).fit()
    assert set(seen) == {(False, False)}
    assert run.policy._reference is None


def test_without_a_divergence_none_is_loaded(make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **settings: Any) -> None:
        raise AssertionError("A reference was loaded.")

    monkeypatch.setattr("lspo.lightning_modules.policy.ReferencePolicy", refuse)
    make_run(trainer={"max_epochs": 1}).fit()


@pytest.mark.filterwarnings("ignore:.*is not supported by the model summary")
@pytest.mark.parametrize("batch", [0, 1, 2], ids=["border", "within", "border-2"])
def test_a_resumed_run_measures_against_the_initial_weights(
    make_run: Callable[..., Any], tmp_path: Path, batch: int
) -> None:
    """Losses, divergences and weights are those of the run that was not broken, bit for bit."""

    class Save(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, b: Any, batch_idx: int) -> None:
            if trainer.global_step == batch + 1:
                trainer.save_checkpoint(tmp_path / "part.ckpt")

    settings: dict[str, Any] = {"policy": {"objective": KL}, "trainer": {"max_epochs": 3}}
    whole_watch = Watch()
    whole = make_run([whole_watch, Save()], **settings).fit()
    rest_watch = Watch()
    rest = make_run([rest_watch], **settings).fit(tmp_path / "part.ckpt")
    assert rest_watch.kl == whole_watch.kl[batch + 1 :]
    for name, weight in whole.weights().items():
        assert torch.equal(rest.weights()[name], weight)


def test_checkpoints_load_with_and_without_the_term(make_run: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "first.ckpt"
    for first, second in ((DAPO(), KL), (KL, DAPO())):
        run = make_run(trainer={"max_epochs": 1}, policy={"objective": first}).fit()
        run.trainer.save_checkpoint(path)
        resumed = make_run(policy={"objective": second}).fit(path)
        assert resumed.trainer.global_step == 4


def test_another_vocabulary_is_refused_before_anything_is_generated(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    from lspo.models.tokenizers import character_tokenizer

    tokenizer = character_tokenizer("abcdef")
    tiny_model(tokenizer).save_pretrained(tmp_path / "foreign")
    tokenizer.save_pretrained(tmp_path / "foreign")
    run = make_run(policy={"objective": KL, "reference": str(tmp_path / "foreign")})
    with pytest.raises(ValueError, match=r"a reference policy with the policy's vocabulary of \d+ tokens"):
        run.fit()
    assert run.trainer.global_step == 0


@pytest.mark.parametrize("settings", [{"reference": "somewhere"}, {"reference_offload": True}])
def test_a_reference_that_nothing_asks_for_is_warned_of(policy_folder: Path, settings: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="do nothing, as the objective has no KL term"):
        PolicyModule(str(policy_folder), **settings)


@pytest.mark.parametrize("offload", [False, True])
def test_offloaded_it_leaves_the_device_for_training(
    make_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, offload: bool
) -> None:
    moves: list[str] = []

    class Spy(Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            model = pl_module._loaded_reference().model
            monkeypatch.setattr(model, "to", lambda device: moves.append(repr(device)))

    settings: dict[str, Any] = {"objective": KL, "reference_offload": offload}
    make_run([Spy()], trainer={"max_epochs": 2}, policy=settings).fit()
    there, back = "device(type='cpu')", "'cpu'"  # the policy's device, and main memory
    expected = [there, there, back, back] if offload else [there, there]
    assert moves == expected * 2
