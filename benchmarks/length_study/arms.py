"""The arms of the study, and its tasks: the flags behind `lspo fit --config study.yaml`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HERE = "length_study"
BAND = {"low": 0.3, "high": 0.65, "max": 0.95}
MODEL = {
    "model_type": "qwen2", "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "intermediate_size": 384, "tie_word_embeddings": True, "max_position_embeddings": 64,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
}  # fmt: skip


def piece(place: str, **settings: Any) -> dict[str, Any]:
    """A class with its settings, as a configuration writes it."""
    return {"class_path": place, "init_args": settings}


@dataclass(frozen=True)
class Task:
    """What a task has of its own.

    Args:
        demonstrations: For the supervised start.
        start: Further settings of the supervised start.
        train, held_out: Problem sets; their seeds are added for each run.
        reward: What scores them.
        max_response_tokens: Limit of a response.
        prompt_tokens: Length of every prompt.
        larger: Groups of DAPO's larger batch: as many as LSPO's rollouts hold that are neither all right nor all wrong.
    """

    demonstrations: dict[str, Any]
    start: dict[str, Any]
    train: dict[str, Any]
    held_out: dict[str, Any]
    reward: str
    max_response_tokens: int
    prompt_tokens: int
    larger: int

    def model(self, seed: int) -> dict[str, Any]:
        return piece(
            "lspo.lightning_modules.ColdStart",
            config=MODEL, demonstrations=self.demonstrations, seed=seed, **self.start,
        )  # fmt: skip

    def flags(self, seed: int) -> list[str]:
        """Those that all arms of a seed share: the start, the prompts and their order, the held-out problems."""
        train, held_out = (
            {**one, "init_args": {**one["init_args"], "seed": base + seed}}
            for one, base in ((self.train, 10_000), (self.held_out, 20_000))
        )
        return given(
            seed_everything=seed,
            **{
                "model.model": self.model(seed),
                "data.train": train,
                "data.val": {"held_out": held_out},
                "data.reward": self.reward,
                "data.sampling": {"max_response_tokens": self.max_response_tokens},
                "data.evaluation": {"before_training": True, "group_size": 2, "batch_prompts": 400},
            },
        )


def _copies(dots: bool, larger: int) -> Task:
    problems = f"{HERE}.tasks.CopyProblems"
    return Task(
        demonstrations=piece(f"{HERE}.tasks.CopyDemonstrations", dots=dots),
        start={"stop_accuracy": 1.0, "max_steps": 200, "check_every_steps": 200, "batch_size": 64,
               "learning_rate": 1.5e-3, "max_response_tokens": 26},
        train=piece(problems, size=600),
        held_out=piece(problems, size=400, stratified=True),
        reward=f"{HERE}.tasks.AnyOfReward",
        max_response_tokens=26,
        prompt_tokens=15,
        larger=larger,
    )  # fmt: skip


TASKS = {
    "informative": _copies(dots=False, larger=52),
    "uninformative": _copies(dots=True, larger=58),
    "built-in": Task(
        demonstrations=piece("lspo.problems.demonstrations.RunningSumDemonstrations"),
        start={},
        train=piece("lspo.problems.RunningSumProblems", size=600),
        held_out=piece("lspo.problems.RunningSumProblems", size=400),
        reward="lspo.rewards.ExactMatchReward",
        max_response_tokens=24,
        prompt_tokens=17,
        larger=46,
    ),
}


def given(**settings: Any) -> list[str]:
    """Settings as flags."""
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in settings.items()]


def chain(*selectors: Any) -> list[str]:
    return given(**{"data.selector": piece("lspo.sampling.Chain", selectors=list(selectors))})


MIXED = "lspo.sampling.AccuracyBand"


def band(**changes: Any) -> dict[str, Any]:
    return piece("lspo.sampling.LengthBand", **{**BAND, **changes})


def control(name: str) -> list[str]:
    """LSPO with a selector of `selectors.py` in the place of the band."""
    return chain(MIXED, piece(f"{HERE}.selectors.{name}", band=piece("lspo.sampling.LengthBand", **BAND)))


DAPO = given(**{"data.selector": MIXED})
ALL = given(**{"data.selector": "lspo.sampling.KeepAll"})
PREDICTION = given(**{"data.predictor": "lspo.prediction.KeepPrediction", "data.batches": {"max_prompt_weight": 4.0}})
LSPO, PERMUTED, MIDDLE_BACK, GRESO, LARGE_GROUPS = (
    "LSPO", "permuted lengths", "middle added back", "GRESO", "GRPO, 16 responses",
)  # fmt: skip
PRIMARY = (LSPO, "DAPO", PERMUTED, MIDDLE_BACK, GRESO, LARGE_GROUPS)
"""The five that LSPO is set against, and itself."""

ARMS: Mapping[str, Sequence[str]] = {
    LSPO: chain(MIXED, band()),
    "DAPO": DAPO,
    PERMUTED: control("PermutedLengths"),
    # Without its gap: everything up to the cap.
    MIDDLE_BACK: chain(MIXED, band(low=BAND["high"])),
    GRESO: [*DAPO, *given(**{"data.predictor": "lspo.prediction.GRESO"})],
    LARGE_GROUPS: [*ALL, *given(**{"data.group_size": 16})],
    "GRPO": ALL,
    "random, as many": control("RandomAsMany"),
    "short only": chain(MIXED, band(keep="short")),
    "long only": chain(MIXED, band(keep="long")),
    "middle only": chain(MIXED, band(keep="middle")),
    "both, without cap": chain(MIXED, band(max=1.0)),
    "difficulty .2-.8": chain(piece(MIXED, low=0.2, high=0.8, inclusive=True)),
    "DAPO, larger batch": DAPO,
    "PODS, 8 of 16": [
        *ALL, *given(**{"data.group_size": 16, "data.downsample": piece("lspo.sampling.MaxVariance", keep=8)}),
    ],
    "LSPO, prediction": [*chain(MIXED, band()), *PREDICTION],
    "DAPO, prediction": [*DAPO, *PREDICTION],
    "without claims": chain(MIXED, piece(f"{HERE}.selectors.WithoutKind", kind="claim")),
}  # fmt: skip


def flags(task: str, arm: str, seed: int) -> list[str]:
    """Everything behind `lspo fit --config study.yaml`, but for the budget and the account."""
    own = list(ARMS[arm])
    if arm == "DAPO, larger batch":
        larger = TASKS[task].larger
        own += given(**{"data.train_groups": larger, "data.minibatch_groups": larger // 2})
    return [*TASKS[task].flags(seed), *own]


def arms_of(task: str) -> list[str]:
    return [arm for arm in ARMS if task == "informative" or arm != "without claims"]
