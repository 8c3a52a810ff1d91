"""New weights for an engine, and that it has them."""

from __future__ import annotations

from lspo.errors import RunError
from lspo.rollout.base import RolloutEngine


def refresh(engine: RolloutEngine, iteration: int) -> None:
    """Has the engine pull the policy's weights, which have been through so many iterations.

    Raises:
        RuntimeError: If it says afterwards that it has others.
    """
    engine.update()
    if engine.version != iteration:
        raise RunError(
            f"Expected {type(engine).__name__} to have the weights of iteration {iteration} after its update, "
            f"but it says version {engine.version}. Rollouts from it would be stale."
        )
