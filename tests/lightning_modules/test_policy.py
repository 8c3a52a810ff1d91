"""The policy module: gradients that do not depend on the cut, log-probs, skipped steps, what it refuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch import Callback, Trainer

from lspo.batching.deal import BatchLayout, deal
from lspo.collecting.collect import collect
from lspo.collecting.plan import CollectPlan
from lspo.lightning_modules import PolicyModule, RolloutMetrics
from lspo.lightning_modules.policy import weight_dtype
from lspo.objectives import DAPO, GRPO, GSPO, DrGRPO, Objective
from lspo.rollout import Sampling
from lspo.sampling import KeepAll
from lspo.testing import ListPrompts, ScriptedEngine, ScriptedResponse, ScriptedReward
from lspo.types import RolloutBatch, RolloutGroup

# Some of these train the bare module, without a datamodule.
pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`")


@pytest.fixture(scope="module")
def groups() -> list[RolloutGroup]:
    """Six groups of four rollouts, of very unlike lengths."""
    plan = CollectPlan(
        iteration=0,
        train_groups=6,
        group_size=4,
        round_prompts=6,
        min_pool=0,
        sampling=Sampling(max_response_tokens=30),
    )
    return collect(ListPrompts(6), ScriptedEngine(), ScriptedReward(), KeepAll(), plan).groups


def dealt(groups: list[RolloutGroup], accumulate: int, *, minibatches: int = 1) -> list[RolloutBatch]:
    layout = BatchLayout(train_groups=6, minibatch_groups=6 // minibatches, accumulate=accumulate)
    return [batch for bins in deal(groups, layout, rank=0, pad_token_id=0, temperature=1.0) for batch in bins]


class KeepGradients(Callback):
    """Copies the gradients of every optimizer step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.steps.append({name: p.grad.clone() for name, p in pl_module.named_parameters() if p.grad is not None})


class WithOldLogprobs(Callback):
    """Moves old log-probs away from the present ones, so that ratios, clips and their gradients differ by token."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: RolloutBatch, batch_idx: int) -> None:
        with torch.no_grad():
            present = pl_module(batch)[0]
        rows, places = batch.response_mask.nonzero(as_tuple=True)
        tokens = batch.token_ids[rows, batch.prompt_lengths[rows] + places]
        # Depends on token and place alone, not on the bin the rollout is in.
        present[rows, places] += 0.4 * torch.sin(3.7 * tokens + 1.3 * places).to(present.dtype)
        batch.old_logprobs = present


def train(
    folder: Path,
    batches: list[RolloutBatch],
    *,
    objective: Objective,
    accumulate: int,
    precision: str,
    lr: float = 1e-3,
    epochs: int = 1,
) -> tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]]]:
    policy = PolicyModule(
        str(folder), objective=objective, optimizer=lambda p: torch.optim.AdamW(p, lr=lr), logits_chunk_tokens=7
    )
    policy.configure_callbacks = lambda: []  # type: ignore[method-assign]
    gradients = KeepGradients()
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, accumulate_grad_batches=accumulate, precision=precision, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[WithOldLogprobs(), gradients],
    )  # fmt: skip
    trainer.fit(policy, _Listed(batches))
    return {name: p.detach().clone() for name, p in policy.named_parameters()}, gradients.steps


class _Listed:
    """Batches as a loader."""

    def __init__(self, batches: list[RolloutBatch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        # Fresh ones: the test's callback writes into them.
        return iter([batch.replace() for batch in self.batches])


@pytest.mark.parametrize(
    "objective",
    [GRPO(), DAPO(dual_clip=3.0), DAPO(entropy_coef=0.01), GSPO(clip_high=0.1), DrGRPO(max_response_tokens=30)],
    ids=["grpo", "dapo", "entropy", "gspo", "dr_grpo"],
)
@pytest.mark.parametrize("accumulate", [2, 4, 24])
def test_the_gradient_does_not_depend_on_the_cut(
    policy_folder: Path, groups: list[RolloutGroup], objective: Objective, accumulate: int
) -> None:
    _, (whole,) = train(policy_folder, dealt(groups, 1), objective=objective, accumulate=1, precision="64-true")
    _, (cut,) = train(
        policy_folder, dealt(groups, accumulate), objective=objective, accumulate=accumulate, precision="64-true"
    )
    assert whole.keys() == cut.keys()
    assert max(float(gradient.abs().max()) for gradient in whole.values()) > 1e-3
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize("coefficient", [0.0, 0.1])
def test_an_entropy_that_is_only_logged_has_no_graph(
    policy_folder: Path, groups: list[RolloutGroup], coefficient: float
) -> None:
    policy = PolicyModule(str(policy_folder), objective=DAPO(entropy_coef=coefficient))
    policy.configure_model()
    (batch,) = dealt(groups, 1)
    logprobs, entropies = policy(batch)
    assert logprobs.requires_grad
    assert entropies.requires_grad == (coefficient > 0)
    output = policy.objective(
        logprobs=logprobs, old_logprobs=logprobs.detach(), advantages=batch.advantages,
        response_mask=batch.response_mask, entropies=entropies,
    )  # fmt: skip
    assert float(output.metrics["loss/entropy"]) > 0.1
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in policy.parameters())


def test_weights_after_four_steps_do_not_depend_on_the_cut(policy_folder: Path, groups: list[RolloutGroup]) -> None:
    """Two iterations' worth of two AdamW steps in float32."""

    def weights(accumulate: int) -> dict[str, torch.Tensor]:
        batches = dealt(groups, accumulate, minibatches=2)
        settings = {"objective": DAPO(), "accumulate": accumulate, "precision": "32-true", "lr": 1e-3, "epochs": 2}
        return train(policy_folder, batches, **settings)[0]

    whole, cut = weights(1), weights(3)
    for name, weight in whole.items():
        torch.testing.assert_close(cut[name], weight, rtol=0, atol=1e-6)


def test_engine_and_trainer_agree_on_logprobs(make_run: Callable[..., Any]) -> None:
    """What the engine sampled with a cache and padding on the left is what training sees, at temperature 0.7."""
    gaps: list[float] = []

    class Compare(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: RolloutBatch, batch_idx: int) -> None:
            if not gaps:
                difference = (pl_module.logprobs(batch) - batch.engine_logprobs)[batch.response_mask]
                gaps.append(float(difference.abs().max()))

    make_run([Compare()], trainer={"max_epochs": 1}, data={"sampling": Sampling(6, temperature=0.7)}).fit()
    assert gaps[0] < 1e-4


def test_a_gradient_that_is_not_finite_is_skipped_and_counted(
    make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    class Poison(Callback):
        def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
            if trainer.global_step == 0:
                next(pl_module.parameters()).grad[0] = float("nan")

    run = make_run([Poison()], trainer={"max_epochs": 1})
    run.fit()
    assert "Skipped an optimizer step: the gradient norm is nan" in capsys.readouterr().out
    assert all(bool(weight.isfinite().all()) for weight in run.weights().values())


@pytest.mark.filterwarnings("ignore:.*of the weights changed.*")
def test_too_many_of_them_in_a_row_end_the_run(make_run: Callable[..., Any]) -> None:
    class Poison(Callback):
        def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
            next(pl_module.parameters()).grad[0] = float("inf")

    with pytest.raises(RuntimeError, match="The gradient was not finite in 3 optimizer steps in a row"):
        make_run([Poison()], trainer={"max_epochs": 3}, policy={"max_nonfinite_steps": 2}).fit()


def test_a_skipped_step_moves_no_weight(make_run: Callable[..., Any]) -> None:
    before: list[dict[str, torch.Tensor]] = []

    class Poison(Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            before.append({name: p.detach().clone() for name, p in pl_module.named_parameters()})

        def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
            next(pl_module.parameters()).grad[0] = float("nan")

    # AdamW's weight decay alone would move them, were the step not dropped whole.
    run = make_run([Poison()], trainer={"max_epochs": 1}, policy={"max_nonfinite_steps": 9})
    with pytest.warns(UserWarning, match="of the weights changed"):
        run.fit()
    for name, parameter in run.policy.named_parameters():
        assert torch.equal(parameter, before[0][name])


def truncated_in(places: set[int]) -> ScriptedEngine:
    """Of the groups with these draw indices every response is cut, of others none."""
    return ScriptedEngine(
        lambda draw, sample: ScriptedResponse(2 + (draw + sample) % 4, f"{draw}-{sample}", truncated=draw in places)
    )


class Values(Callback):
    """Keeps what was logged at each optimizer step, and the weights after it."""

    def __init__(self) -> None:
        self.logged: list[dict[str, float]] = []
        self.weights: list[list[torch.Tensor]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.logged.append({name: float(value) for name, value in trainer.logged_metrics.items()})
        self.weights.append([p.detach().clone() for p in pl_module.parameters()])


@pytest.mark.parametrize(
    "objective", [DAPO(entropy_coef=0.1), GRPO(kl_coef=0.1), GSPO(), DrGRPO(max_response_tokens=6)]
)
@pytest.mark.filterwarnings("ignore:The objective is defined with advantages", "ignore:Only .* of the weights changed")
def test_a_minibatch_of_masked_responses_moves_no_weight(
    make_run: Callable[..., Any], capsys: pytest.CaptureFixture[str], objective: Objective
) -> None:
    """The second of two mini-batches; momentum and weight decay are not let loose on it."""
    values = Values()
    make_run(
        [values],
        trainer={"max_epochs": 1},
        policy={"objective": objective},
        data={
            "engine": truncated_in({4, 5, 6, 7}),
            "selector": KeepAll(),
            "rounds.round_prompts": 8,
            "batches.mask_truncated": True,
        },
    ).fit()
    assert [logged["train/masked_frac"] for logged in values.logged] == [0.0, 1.0]
    assert values.logged[1]["loss/total"] == 0
    assert values.logged[1]["train/grad_norm"] == 0
    assert all(value == value and abs(value) != float("inf") for logged in values.logged for value in logged.values())
    for before, after in zip(*values.weights, strict=True):
        assert torch.equal(before, after)
    assert capsys.readouterr().out.count("Skipped an optimizer step: no response of its mini-batch counts") == 1


def test_masked_responses_have_no_part_in_the_gradient(make_run: Callable[..., Any]) -> None:
    """Half of each mini-batch is cut: the share is logged, and the weights are other than with all of them."""
    runs = {}
    for mask_truncated in (False, True):
        values = Values()
        settings = {"engine": truncated_in({0, 1, 4, 5}), "selector": KeepAll(), "rounds.round_prompts": 8}
        make_run(
            [values], trainer={"max_epochs": 1}, data={**settings, "batches.mask_truncated": mask_truncated}
        ).fit()  # fmt: skip
        runs[mask_truncated] = values
    assert [logged["train/masked_frac"] for logged in runs[True].logged] == [0.5, 0.5]
    assert [logged["train/masked_frac"] for logged in runs[False].logged] == [0.0, 0.0]
    assert any(not torch.equal(*pair) for pair in zip(runs[True].weights[0], runs[False].weights[0], strict=True))


@pytest.mark.parametrize(("scale", "warns"), [("group", True), ("batch", False), ("none", False)])
def test_an_objective_without_the_std_of_a_group_warns_of_it(
    make_run: Callable[..., Any], recwarn: pytest.WarningsRecorder, scale: str, warns: bool
) -> None:
    objective = DrGRPO(max_response_tokens=6)
    run = make_run(trainer={"max_epochs": 1}, policy={"objective": objective}, data={"batches.advantage_scale": scale})
    run.fit()
    told = [str(w.message) for w in recwarn if "advantage_scale" in str(w.message)]
    assert bool(told) == warns
    if warns:
        assert "batches.advantage_scale='group'. Set it to 'none' or 'batch'." in told[0]


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("32-true", "float32"),
        ("bf16-mixed", "float32"),
        ("16-mixed", "float32"),
        ("bf16-true", "bfloat16"),
        ("64-true", "float64"),
    ],
)
def test_master_weights_are_float32_unless_precision_is_true(precision: str, dtype: str) -> None:
    assert weight_dtype(precision) is getattr(torch, dtype)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_batches_keep_their_precision(make_run: Callable[..., Any], precision: str) -> None:
    seen: list[Any] = []

    class Look(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: RolloutBatch, batch_idx: int) -> None:
            seen.append((batch.advantages.dtype, batch.old_logprobs.dtype))

    # At the rate of these tests bfloat16 moves enough weights not to be warned of.
    make_run([Look()], trainer={"max_epochs": 1, "precision": precision}).fit()
    assert set(seen) == {(torch.float32, torch.float32)}


def test_dropout_is_off_in_a_model_that_trains(tmp_path: Path, policy_folder: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.for_model("gpt2", n_embd=32, n_layer=1, n_head=2, n_positions=64, vocab_size=15)
    assert config.resid_pdrop > 0
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(policy_folder).save_pretrained(tmp_path)
    policy = PolicyModule(str(tmp_path))
    policy.configure_model()
    assert policy.model.training
    rates = [module.p for module in policy.model.modules() if isinstance(module, torch.nn.Dropout)]
    assert rates
    assert not any(rates)


def test_default_callbacks_leave_the_users_own_alone(make_run: Callable[..., Any]) -> None:
    class Mine(RolloutMetrics):
        pass

    mine = Mine()
    run = make_run([mine], trainer={"max_epochs": 1})
    run.fit()
    assert [callback for callback in run.trainer.callbacks if isinstance(callback, RolloutMetrics)] == [mine]


def test_a_policy_of_another_kind_is_refused(make_run: Callable[..., Any]) -> None:
    from lightning.pytorch.demos.boring_classes import BoringModel

    run = make_run()
    with pytest.raises(TypeError, match=r"Expected a LightningModule that is a `lspo\.rollout\.PolicyHandle`"):
        run.trainer.fit(BoringModel(), run.data)


def test_gradient_clipping_and_activation_checkpointing_work_together(make_run: Callable[..., Any]) -> None:
    plain = make_run(trainer={"max_epochs": 1, "gradient_clip_val": 0.1}).fit().weights()
    frugal = make_run(
        trainer={"max_epochs": 1, "gradient_clip_val": 0.1}, policy={"gradient_checkpointing": True}
    ).fit().weights()  # fmt: skip
    for name, weight in plain.items():
        assert torch.equal(frugal[name], weight)


def test_steps_skipped_in_a_row_are_counted_across_a_resume(make_run: Callable[..., Any]) -> None:
    policy = make_run().policy
    policy.configure_model()
    policy._step.nonfinite_in_a_row = 3
    checkpoint: dict[str, Any] = {"state_dict": policy.state_dict()}
    policy.on_save_checkpoint(checkpoint)
    resumed = make_run().policy
    resumed.configure_model()
    resumed.on_load_checkpoint(checkpoint)
    assert resumed._step.nonfinite_in_a_row == 3


def test_weights_of_another_model_are_refused(make_run: Callable[..., Any]) -> None:
    policy = make_run().policy
    policy.configure_model()
    own = policy.state_dict()
    name = next(iter(own))
    with pytest.raises(ValueError, match=r"1 of its weights differ: .* is \(2, 2\) there and \(\d+, 32\) here"):
        policy.on_load_checkpoint({"state_dict": {**own, name: torch.zeros(2, 2)}})
    with pytest.raises(ValueError, match=r"1 of its weights differ: extra is only there"):
        policy.on_load_checkpoint({"state_dict": {**own, "extra": torch.zeros(2)}})


def test_what_a_broken_optimizer_step_has_left_is_not_logged(make_run: Callable[..., Any]) -> None:
    class Broken(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            raise OSError("the disk is full")

    class Counts(Callback):
        responses: float

        def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
            self.responses = float(pl_module._step.metrics._values["responses"])

    counts, trainer = Counts(), {"accumulate_grad_batches": 2}
    run, again = make_run([Broken()], trainer=trainer), make_run([counts], trainer={**trainer, "max_steps": 1})
    with pytest.raises(OSError, match="the disk is full"):
        run.fit()
    again.trainer.fit(run.policy, again.data)
    assert counts.responses == 16


def test_no_advice_to_average_what_is_summed_up_already() -> None:
    policy = PolicyModule("unused")
    policy._trainer = SimpleNamespace(strategy=SimpleNamespace(checkpoint_io=None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.setup("fit")
        advice = "It is recommended to use `self.log('{}', ..., sync_dist=True)` when logging on epoch level"
        warnings.warn(advice.format("val/held_out/avg@4"), PossibleUserWarning, stacklevel=1)
        with pytest.raises(PossibleUserWarning, match="my_metric"):
            warnings.warn(advice.format("my_metric"), PossibleUserWarning, stacklevel=1)


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("32-true", torch.float32), ("bf16-mixed", torch.float32), ("16-mixed", torch.float32),
        ("bf16-true", torch.bfloat16), ("16-true", torch.float16), ("64-true", torch.float64), ("64", torch.float64),
    ],
)  # fmt: skip
def test_the_type_of_the_weights_by_precision(precision: str, dtype: torch.dtype) -> None:
    assert weight_dtype(precision) is dtype
