"""A policy with LoRA, as a project of one's own makes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from peft import LoraConfig, PromptTuningConfig, get_peft_model

from lspo.lightning_modules import PolicyModule

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


class WithAdapters(PolicyModule):
    settings: Any = LoraConfig(target_modules=["q_proj", "v_proj"], lora_dropout=0.5)

    def configure_model(self) -> None:
        if self.model is None:
            super().configure_model()
            self.model = get_peft_model(self.model, self.settings)


@pytest.fixture
def adapted(make_run: Callable[..., Any], policy_folder: Path) -> Any:
    run = make_run()
    run.policy = WithAdapters(str(policy_folder), optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-2))
    return run


def test_adapters_train_and_the_rest_stays(adapted: Any, policy_folder: Path) -> None:
    before: dict[str, torch.Tensor] = {}

    class Keep(Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            before.update({name: tensor.clone() for name, tensor in pl_module.model.state_dict().items()})

    adapted.trainer.callbacks.append(Keep())
    adapted.fit()
    metrics = adapted.trainer.callback_metrics
    assert metrics["mismatch/log_ratio_abs_max"] < 1e-4
    moved = {n for n, tensor in adapted.policy.model.state_dict().items() if not torch.equal(tensor, before[n])}
    assert moved
    assert all("lora_" in name for name in moved)


def test_a_folder_of_them_is_refused_in_one_message(adapted: Any, tmp_path: Path) -> None:
    adapted.fit()
    with pytest.raises(ValueError, match=r"PeftModel holds adapters .* merge them first"):
        adapted.policy.save_pretrained(tmp_path / "out")
    with pytest.raises(ValueError, match="PeftModel holds adapters"):
        list(adapted.policy.full_weights())


def test_tokens_before_the_prompt_are_refused(adapted: Any) -> None:
    adapted.policy.settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(ValueError, match="puts tokens of its own before the prompt"):
        adapted.fit()
