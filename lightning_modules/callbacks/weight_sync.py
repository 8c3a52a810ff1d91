"""New weights for the engine when an iteration begins."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lspo.collecting.plan import CollectPlan
from lspo.lightning_modules.callbacks.base import RolloutCallback
from lspo.rollout.refresh import refresh


class WeightSync(RolloutCallback):
    """Has the engine pull the policy's weights before each collection, and makes sure that it did.

    After a validation during training it tells the engine that training goes on.

    Raises:
        RuntimeError: If the engine still says that it has older weights.
    """

    def on_collect_start(self, trainer: Trainer, pl_module: LightningModule, plan: CollectPlan) -> None:
        refresh(trainer.datamodule.engine, plan.iteration)  # type: ignore[attr-defined]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        engine: Any = getattr(getattr(trainer, "datamodule", None), "engine", None)
        if engine is not None and trainer.state.fn == "fit" and not trainer.sanity_checking:
            engine.idle()
