"""The number of an iteration, as it is written in the names of files."""

from __future__ import annotations

from typing import Any


def iteration_name(iteration: int, step: int | None = None) -> str:
    """Name of what belongs to the weights after `iteration` finished iterations.

    The number is that of finished iterations everywhere: in the names of checkpoints, of `pretrained` folders and of
    evaluations it says what the weights have been through; in the name of a file of rollouts, in a row of the logs and
    in a message, what the weights that wrote the rollouts had been through.

    Args:
        iteration: Finished iterations; 0 before training.
        step: Optimizer steps so far, if the weights are those within the next iteration; None: they are not.

    Example:
        >>> iteration_name(40), iteration_name(40, step=81)
        ('iteration_000040', 'iteration_000040_step_000081')
    """
    return f"iteration_{iteration:06d}" + ("" if step is None else f"_step_{step:06d}")


def name_of_weights(trainer: Any, module: Any) -> str:
    """The same of a Trainer's present weights."""
    within = getattr(module, "within_iteration", False)
    return iteration_name(finished_iterations(trainer, module), trainer.global_step if within else None)


def finished_iterations(trainer: Any, module: Any) -> int:
    """Iterations that the present weights have been through."""
    version = getattr(module, "version", None)
    return int(trainer.current_epoch if version is None else version)
