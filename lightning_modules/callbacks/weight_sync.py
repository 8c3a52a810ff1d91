"""New weights for the engine when an iteration begins."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lspo.collecting.plan import CollectPlan
from lspo.lightning_modules.callbacks.base import RolloutCallback


class WeightSync(RolloutCallback):
    """Has the engine pull the policy's weights before each collection, and makes sure that it did.

    After a validation amid training it tells the engine that training goes on.

    Raises:
        RuntimeError: If the engine still says that it has older weights.
    """

    def on_collect_start(self, trainer: Trainer, pl_module: LightningModule, plan: CollectPlan) -> None:
        engine: Any = trainer.datamodule.engine  # type: ignore[attr-defined]
        engine.update()
        if engine.version != plan.iteration:
            raise RuntimeError(
                f"Expected {type(engine).__name__} to have the weights of iteration {plan.iteration} after its update, "
                f"but it says version {engine.version}. Rollouts from it would be stale."
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        engine: Any = getattr(getattr(trainer, "datamodule", None), "engine", None)
        if engine is not None and trainer.state.fn == "fit" and not trainer.sanity_checking:
            engine.idle()
