"""What is drawn over the course of a run, and where it is read: the one place that knows the names of metrics."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lspo.runs import Run

AXES = ("iterations", "tokens", "seconds")
AXIS_LABELS = {"iterations": "finished iterations", "tokens": "generated tokens", "seconds": "time of the run"}

Read = Callable[[Run], Mapping[int, float]]


@dataclass(frozen=True)
class Curve:
    """One plot of curves.

    Args:
        key: In links and in names of files.
        title: What it shows.
        unit: "share", "number", "count" or "seconds".
        names: Columns of `metrics.csv` it may be called, the present name first.
        says: How to read it, in one or two sentences.
        section: Under which heading it is.
        read: Where it is not a column: how to get it from the run, by iteration.
    """

    key: str
    title: str
    unit: str
    names: tuple[str, ...]
    says: str
    section: str = "Training"
    read: Read | None = None

    def values(self, run: Run) -> dict[int, float]:
        """By iteration; empty where the run has none."""
        found = run.series(*self.names) if self.names else {}
        return found or (dict(self.read(run)) if self.read else {})


def mean_length(run: Run) -> dict[int, float]:
    """Tokens of an iteration by its responses, both as differences of totals."""
    found, tokens, rollouts = {}, 0.0, 0.0
    for place, row in enumerate(run.iterations):
        if "tokens" not in row or "rollouts" not in row:
            continue
        # Of a resumed run whose first part is elsewhere, the first difference is that of many iterations.
        known = place > 0 or row["iteration"] == 0
        if known and row["rollouts"] > rollouts:
            found[row["iteration"]] = (row["tokens"] - tokens) / (row["rollouts"] - rollouts)
        tokens, rollouts = row["tokens"], row["rollouts"]
    return found


def kept_share(run: Run) -> dict[int, float]:
    groups = {row["iteration"]: row.get("groups", {}) for row in run.iterations}
    return {number: one["kept"] / one["generated"] for number, one in groups.items() if one.get("generated")}


CURVES = (
    Curve("accuracy", "Accuracy of sampled responses", "share", ("rollout/accuracy",),
          "Share of right responses among all that were sampled for training, before the filters."),
    Curve("reward", "Reward", "number", ("rollout/reward",),
          "Mean reward of the same responses: what the objective sees, with all shaping."),
    Curve("length", "Response length", "number", ("length/mean",),
          "Mean tokens of a response. A jump without a gain in accuracy is worth a look at the responses.",
          read=mean_length),
    Curve("truncated", "Cut responses", "share", ("length/truncated_frac",),
          "Share of responses that were cut at the token limit. Above a few percent the limit shapes what is learned."),
    Curve("kept", "Kept groups", "share", ("rollout/kept_frac",),
          "Share of generated groups that passed every filter. The lower, the more tokens a trained group costs.",
          read=kept_share),
    Curve("reward_spread", "Reward spread in a group", "number",
          ("rollout/reward_spread",),
          "Mean standard deviation of the rewards of one group. Near zero there is nothing to learn from."),
    Curve("entropy", "Entropy", "number", ("loss/entropy",),
          "Mean entropy of a token, in nats. When it falls to zero, all responses to a prompt are alike.", "Policy"),
    Curve("kl", "KL to the reference policy", "number", ("loss/kl",),
          "How far the policy is from the reference, in nats per token.", "Policy"),
    Curve("old_kl", "KL to the sampling policy", "number", ("loss/kl_from_sampling", "loss/old_kl"),
          "How far an iteration's steps have moved the policy from the weights that wrote the responses, "
          "in nats per token.", "Policy"),
    Curve("clip_high", "Clipped above", "share", ("loss/clip_high_frac",),
          "Share of tokens whose ratio was cut at the upper bound.", "Policy"),
    Curve("clip_low", "Clipped below", "share", ("loss/clip_low_frac",),
          "Share of tokens whose ratio was cut at the lower bound.", "Policy"),
    Curve("engine_gap", "Engine gap", "number", ("mismatch/log_ratio_abs_mean",),
          "Mean difference between the engine's log-prob of a token and the trainer's. "
          "It is rounding, and grows with lower precision.", "Policy"),
    Curve("probe_gap", "Engine gap after a weight sync", "number", ("engine/probe_gap",),
          "The same on a fixed text, right after new weights were sent to the engine.", "Policy"),
    Curve("grad_norm", "Gradient norm", "number", ("train/grad_norm",),
          "Before clipping, mean over the steps of an iteration.", "Optimizer"),
    Curve("lr", "Learning rate", "number", ("train/lr",), "As the schedule set it.", "Optimizer"),
    Curve("cost", "Tokens per trained group", "count", ("cost/tokens_per_trained_group",),
          "Generated tokens, dropped groups included, for each group that was trained on.", "Cost"),
    Curve("speed", "Tokens per second of generation", "count",
          ("time/generate_tokens_per_second",), "All ranks together.", "Cost"),
    Curve("memory", "Peak memory", "number", ("memory/peak_rss_gib",),
          "Most resident memory of a rank's process so far, in GiB.", "Cost"),
    Curve("cuda_memory", "Peak memory of a GPU", "number", ("memory/peak_cuda_gib",),
          "Most memory that PyTorch had on a GPU so far, in GiB.", "Cost"),
)  # fmt: skip

PHASES = (
    ("generate", "generation", ("time/generate_seconds",)),
    ("sync", "weight sync", ("time/sync_seconds",)),
    ("reward", "rewards", ("time/reward_seconds",)),
    ("select", "selection", ("time/select_seconds",)),
    ("old_logprobs", "old log-probs", ("time/old_logprobs_seconds",)),
    ("ref_logprobs", "reference log-probs", ("time/ref_logprobs_seconds",)),
    ("train", "training", ("time/train_seconds",)),
    ("evaluate", "evaluation", ("time/evaluation_seconds",)),
    ("checkpoint", "checkpoints", ("time/checkpoint_seconds",)),
)
"""Phases of an iteration, in the order of the stack."""

EVALUATED = re.compile(r"val/(?P<set>.+)/(?P<kind>avg|pass|maj)@(?P<k>\d+)")
KINDS = {
    "avg": "mean over {k} responses",
    "pass": "at least one of {k} right",
    "maj": "majority of {k} right",
}


def evaluated_names(run: Run) -> list[str]:
    """Evaluation metrics that are accuracies, avg@k first."""
    names = {name for row in run.evaluations for name in row["evaluation"] if EVALUATED.fullmatch(name)}
    return sorted(names, key=lambda name: (list(KINDS).index(EVALUATED.fullmatch(name)["kind"]), name))  # type: ignore[index]


def evaluation_curve(name: str) -> Curve:
    """The curve of an evaluation metric; its iterations are finished ones."""
    match = EVALUATED.fullmatch(name)
    assert match is not None
    says = f"Held-out problems that are never trained on; {KINDS[match['kind']].format(k=match['k'])}."

    def read(run: Run) -> dict[int, float]:
        return {row["iteration"]: row["evaluation"][name] for row in run.evaluations if name in row["evaluation"]}

    key = f"eval_{match['set']}_{match['kind']}{match['k']}".replace("/", "_")
    return Curve(key, f"{match['set']}: {match['kind']}@{match['k']}", "share", (), says, "Evaluation", read)


def places(run: Run, axis: str, *, evaluation: bool) -> dict[int, float]:
    """Where each iteration is on an axis: its own number, or the run's totals with it."""
    rows = run.evaluations if evaluation else run.iterations
    if axis == "iterations":
        numbers = [row["iteration"] for row in rows]
        return {number: float(number) for number in (numbers or _logged(run))}
    return {row["iteration"]: float(row[axis]) for row in rows if axis in row}


def _logged(run: Run) -> list[int]:
    return sorted({int(row["iteration"]) for row in run.metrics if "iteration" in row})


def phase_seconds(run: Run) -> dict[str, dict[int, float]]:
    """Seconds of each phase that was logged, by iteration."""
    found = {label: run.series(*names) for _, label, names in PHASES}
    return {label: values for label, values in found.items() if any(values.values())}
