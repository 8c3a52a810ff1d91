"""Each half without the other: the blocks of docs/own_module.md, and modules that are only a `PolicyHandle`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from lspo.datamodules import RolloutDataModule
from lspo.lightning_modules import PolicyModule, RolloutCallback, RolloutModule, WeightSync
from lspo.models.causal_lm import load_model, load_tokenizer
from lspo.rollout import PolicyHandle, Sampling
from lspo.rollout.local_policy import LocalPolicy
from lspo.sampling import AccuracyBand
from lspo.testing import ScriptedReward

PAGE = (Path(__file__).parents[1] / "docs/own_module.md").read_text()
MODULE, OBJECTIVE, SELECTOR, COLLECTING = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def run(code: str, **names: Any) -> dict[str, Any]:
    exec(compile(code, "own_module.md", "exec"), names)
    return names


def code_lines(code: str) -> int:
    return sum(bool(line.strip()) for line in code.splitlines())


@pytest.fixture
def reinforce(policy_folder: Path) -> type[RolloutModule]:
    return run(MODULE.split("\n\n\nrows =")[0])["Reinforce"]


def test_the_first_script_of_a_module_of_one_s_own(policy_folder: Path, tmp_path: Path, capsys: Any) -> None:
    """As it is written there, with a small model, a short run, and a reward that is sometimes right."""
    assert code_lines(MODULE) < 30
    code = MODULE.replace("Qwen/Qwen2.5-0.5B", str(policy_folder)).replace("lr=1e-6", "lr=1e-3")
    code = code.replace('"What is 6 times 7?"', '"42..............="').replace("rows = [", "rows = 12 * [")
    code = code.replace("answer in response", "len(response) % 2").replace("max_epochs=100", "max_epochs=2, **small")
    code = code.replace("group_size=8, train_groups=32", "**sizes")
    small = {
        "accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "default_root_dir": tmp_path,
    }  # fmt: skip
    with pytest.warns(UserWarning, match="were cut at"):
        run(code, small=small, sizes=SIZES)
    assert "Finished 2 iterations, 4 optimizer steps." in capsys.readouterr().out


SIZES: dict[str, Any] = {
    "group_size": 4, "train_groups": 4, "minibatch_groups": 2, "selector": AccuracyBand(),
    "sampling": Sampling(max_response_tokens=6),
}  # fmt: skip


def fit(module: LightningModule, folder: Path, *, accumulate: int = 1, callbacks: Any = (), **data: Any) -> Trainer:
    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=2, logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        accumulate_grad_batches=accumulate, callbacks=list(callbacks),
    )  # fmt: skip
    rows = [{"question": f"{number}{number}..............=", "answer": number} for number in range(10)]
    trainer.fit(module, RolloutDataModule(rows, ScriptedReward(), **SIZES | data))
    return trainer


@pytest.mark.filterwarnings("ignore:.*were cut at")
def test_its_gradient_does_not_depend_on_the_cut(
    reinforce: type[RolloutModule], policy_folder: Path, tmp_path: Path
) -> None:
    class Plain(reinforce):  # type: ignore[misc, valid-type]
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=1.0)

    weights = []
    for accumulate in (1, 2, 4):
        module = Plain(str(policy_folder))
        fit(module, tmp_path, accumulate=accumulate)
        weights.append({name: tensor.clone() for name, tensor in module.model.state_dict().items()})
    for other in weights[1:]:
        for name, tensor in weights[0].items():
            torch.testing.assert_close(other[name], tensor, atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore:.*were cut at")
def test_it_evaluates_and_has_the_callbacks_of_a_run(
    reinforce: type[RolloutModule], policy_folder: Path, tmp_path: Path
) -> None:
    trainer = fit(reinforce(str(policy_folder)), tmp_path, val={"held_out": [{"question": "1..=", "answer": "1"}]})
    assert "val/held_out/avg@8" in trainer.callback_metrics
    assert any(isinstance(callback, WeightSync) for callback in trainer.callbacks)


def test_a_policy_module_is_one(policy_folder: Path) -> None:
    assert isinstance(PolicyModule(str(policy_folder)), RolloutModule)


def test_a_strategy_that_cuts_the_model_is_refused(
    reinforce: type[RolloutModule], policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lspo.lightning_modules import rollout_module, sharding

    class Cut(sharding.Sharding): ...

    monkeypatch.setattr(rollout_module, "sharding_for", lambda strategy: Cut())
    module = reinforce(str(policy_folder))
    with pytest.raises(ValueError, match=r"Reinforce is a RolloutModule. Derive it"):
        fit(module, policy_folder)


class Bare(LightningModule, PolicyHandle):
    """Only what an engine asks for."""

    name_or_path, eos_token_ids, tokenizer = "", (), None  # type: ignore[assignment]

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model, self.tokenizer = load_model(str(folder), dtype=torch.float32), load_tokenizer(str(folder))
        self.handle = LocalPolicy(self.model, self.tokenizer)
        self.eos_token_ids, self.versions = self.handle.eos_token_ids, [0]

    @property
    def version(self) -> int:
        return self.trainer.current_epoch

    def unsharded(self) -> Any:
        return self.handle.unsharded() if self.training else nullcontext(self.model)

    def full_weights(self) -> Iterator[Any]:
        return self.handle.full_weights()

    def logprobs(self, batch: Any) -> Any:
        return self.handle.logprobs(batch)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.versions.append(int(batch.version))
        return self.model(batch.token_ids).logits.float().logsumexp(-1).mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def test_a_bare_handle_has_fresh_weights_and_is_told_what_is_missing(
    policy_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = Bare(policy_folder)
    with caplog.at_level("INFO"), pytest.warns(UserWarning, match="have no `validation_step`"):
        trainer = fit(module, tmp_path, val={"held_out": [{"question": "1..=", "answer": "1"}]})
    assert "No callback of lspo is there: Bare brings none" in caplog.text
    assert trainer.global_step == 4
    # Rollouts of each iteration are from the weights of that one.
    assert module.versions == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("code", [OBJECTIVE, SELECTOR, COLLECTING], ids=["objective", "selector", "collecting"])
def test_a_piece_alone(code: str, policy_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_lines(code) < 20
    names = run(code.replace("Qwen/Qwen2.5-0.5B", str(policy_folder)))
    printed = capsys.readouterr().out
    if "output" in names:
        assert names["logprobs"].grad.abs().sum() > 0
        assert "loss/" in printed
    elif "report" in names:
        assert len(names["report"].groups) == 8
        assert re.match(r"8 groups of \d+ in \d+ rounds", printed)
    else:
        assert names["decision"].keep.tolist() == [True, False, False, True, True, True]


@pytest.mark.filterwarnings("ignore:.*were cut at")
def test_a_checkpoint_without_the_place_in_the_data_is_named(
    reinforce: type[RolloutModule], policy_folder: Path, tmp_path: Path
) -> None:
    trainer = fit(reinforce(str(policy_folder)), tmp_path)
    trainer.save_checkpoint(tmp_path / "whole.ckpt")
    checkpoint = torch.load(tmp_path / "whole.ckpt", weights_only=True)
    del checkpoint["RolloutDataModule"]
    module = reinforce(str(policy_folder))
    module._trainer = trainer
    trainer.training = True
    with pytest.warns(UserWarning, match="The checkpoint has no state of RolloutDataModule"):
        module.on_load_checkpoint(checkpoint)


@pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader`")
def test_a_callback_of_ones_own_kind_counts_as_one_of_ours(
    policy_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Own(RolloutCallback): ...

    with caplog.at_level("INFO"):
        fit(Bare(policy_folder), tmp_path, callbacks=[Own()])
    assert "No callback of lspo" not in caplog.text
