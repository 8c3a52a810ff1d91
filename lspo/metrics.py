"""Every number that a run logs: its name, its unit, what it means, and what it was called before.

`docs/metrics.md` is made of this table, and a test holds it against what runs log. A name may have places to fill in:
`val/{set}/avg@{k}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

SHARE, COUNT, TOKENS, SECONDS, NATS, GIB = "0 to 1", "count", "tokens", "seconds", "nats per token", "GiB"


@dataclass(frozen=True)
class Metric:
    """One number, or a family of them.

    Args:
        name: As it is logged, with `{places}` to fill in.
        unit: Its unit, or its range.
        meaning: In one line.
        old: The name that it had before, with the same places; still understood where a name is given or read.
    """

    name: str
    unit: str
    meaning: str
    old: str | None = None


SECTIONS: dict[str, tuple[str, tuple[Metric, ...]]] = {
    "Place in the run": (
        "Columns of every row.",
        (
            Metric("iteration", COUNT, "iteration that is trained, from 0; of an evaluation: finished iterations"),
            Metric("step", COUNT, "optimizer steps, counted by Lightning; written by the CSV logger"),
            Metric("epoch", COUNT, "Lightning's count of iterations; written with rows of steps"),
            Metric("total/tokens", TOKENS, "response tokens generated for training so far, on all ranks"),
            Metric("total/rollouts", COUNT, "responses generated for training so far, on all ranks"),
            Metric("total/seconds", SECONDS, "wall time since the first collection, resumed parts included"),
            Metric(
                "total/cpu_seconds",
                SECONDS,
                "processor time of all ranks' processes, and of their child processes that have ended",
            ),
        ),
    ),
    "Rollouts of an iteration": (
        "One row per iteration, of all that was generated for it, unless the line says otherwise.",
        (
            Metric("rollout/accuracy", SHARE, "share of right responses"),
            Metric("rollout/reward", "the reward's", "mean reward, with shaping"),
            Metric(
                "rollout/reward_spread",
                "the reward's",
                "standard deviation of rewards within a group, mean over groups",
            ),
            Metric("rollout/kept_frac", SHARE, "share of groups that passed every filter"),
            Metric(
                "rollout/of_all/{reason}_frac",
                SHARE,
                "share of all groups with this decision, as kept, all_right, all_wrong or length_middle",
                "rollout/reason/{reason}_frac",
            ),
            Metric(
                "rollout/of_pool/{reason}_frac",
                SHARE,
                "the same, as a share of the groups that a relative rule judged; of LSPO: those of mixed accuracy",
                "rollout/pool/{reason}_frac",
            ),
            Metric("rollout/pool_groups", COUNT, "groups that a relative rule judged"),
            Metric("rollout/threshold/{bound}", "the rule's", "a bound that was applied, as length_low, in tokens"),
            Metric("rollout/short_frac", SHARE, "share of short groups among those trained on, by the band's middle"),
            Metric("rollout/long_frac", SHARE, "share of long groups among those trained on"),
            Metric("rollout/rounds", COUNT, "rounds of generation"),
            Metric("rollout/surplus_groups", COUNT, "groups that were kept, but not needed"),
            Metric("rollout/carried_groups", COUNT, "groups trained on that earlier iterations had as surplus"),
            Metric("rollout/expired_groups", COUNT, "surplus that became older than `rounds.max_age`, and was dropped"),
            Metric("rollout/filled_groups", COUNT, "groups trained on though not kept (`rounds.on_shortfall=fill`)"),
            Metric(
                "rollout/small_pool_groups",
                COUNT,
                "groups trained on by the bounds of a pool below `rounds.min_pool`",
                "rollout/undecided_groups",
            ),
            Metric("rollout/downsampled_responses", COUNT, "responses left out of groups trained on (`downsample`)"),
        ),
    ),
    "Lengths": (
        "In tokens, the end token included.",
        (
            Metric("length/mean", TOKENS, "mean of all responses"),
            Metric("length/right_mean", TOKENS, "mean of right responses"),
            Metric("length/wrong_mean", TOKENS, "mean of wrong responses"),
            Metric("length/trained_mean", TOKENS, "mean of the responses trained on"),
            Metric("length/max", TOKENS, "the longest response"),
            Metric("length/truncated_frac", SHARE, "share of responses that were cut at the limit"),
            Metric("length/group_q{percent}", TOKENS, "quantile of the groups' mean lengths, as q30: 30% are shorter"),
        ),
    ),
    "Reward": (
        "",
        (
            Metric("reward/{part}", "the reward's", "mean of a named part of the reward, or a counter of the reward"),
            Metric("reward/{part}/timeouts", COUNT, "responses on which the verifier ran out of time: they are wrong"),
        ),
    ),
    "Costs": (
        "`cost/*` and the tokens per second are those of all ranks together.",
        (
            Metric("cost/tokens", TOKENS, "response tokens generated for the iteration"),
            Metric("cost/tokens_per_trained_group", TOKENS, "tokens generated per group trained on"),
            Metric("cost/rollouts_per_trained_group", COUNT, "responses generated per group trained on"),
            Metric(
                "time/generate_tokens_per_second",
                "tokens per second",
                "tokens of the iteration by the seconds that the engine was waited for",
            ),
            Metric(
                "time/iteration_tokens_per_second",
                "tokens per second",
                "tokens of the iteration before by its seconds, training and all else included",
            ),
            Metric("time/sync_seconds", SECONDS, "weights on their way to the engine"),
            Metric("time/generate_seconds", SECONDS, "waiting for the engine"),
            Metric("time/reward_seconds", SECONDS, "waiting for scores"),
            Metric(
                "time/reward_overlapped_seconds",
                SECONDS,
                "scoring while the engine was at work; in no other time",
                "time/reward_hidden_seconds",
            ),
            Metric("time/select_seconds", SECONDS, "deciding which groups are kept"),
            Metric("time/old_logprobs_seconds", SECONDS, "log-probs under the weights that wrote the responses"),
            Metric("time/ref_logprobs_seconds", SECONDS, "log-probs under the reference policy"),
            Metric(
                "time/train_seconds",
                SECONDS,
                "of the iteration before: from its collection to the next, evaluation and checkpoints included",
            ),
            Metric("time/evaluation_seconds", SECONDS, "of the iteration before: its evaluations"),
            Metric("time/checkpoint_seconds", SECONDS, "of the iteration before: its checkpoints"),
            Metric("time/iteration_seconds", SECONDS, "of the iteration before: all of it"),
            Metric("memory/peak_rss_gib", GIB, "most resident memory of a rank's process so far; the largest rank"),
            Metric("memory/peak_cuda_gib", GIB, "most memory of PyTorch on a GPU so far; the largest rank"),
        ),
    ),
    "Loss": (
        "One row per optimizer step, over the responses of its mini-batch on all ranks.",
        (
            Metric("loss/total", "nats", "what is minimized"),
            Metric("loss/policy", "nats", "the policy-gradient part of it"),
            Metric("loss/kl", NATS, "KL to the reference policy, before its coefficient"),
            Metric("loss/entropy", NATS, "entropy of the policy"),
            Metric("loss/ratio_min", "above 0", "least ratio of new to old probability"),
            Metric("loss/ratio_max", "above 0", "greatest ratio of new to old probability"),
            Metric("loss/clip_high_frac", SHARE, "share of tokens clipped at the upper bound"),
            Metric("loss/clip_low_frac", SHARE, "share of tokens clipped at the lower bound"),
            Metric("loss/dual_clip_frac", SHARE, "share of tokens clipped by `dual_clip`"),
            Metric(
                "loss/kl_from_sampling",
                NATS,
                "how far the policy has moved from the weights that wrote the responses: mean of log old - log new",
                "loss/old_kl",
            ),
        ),
    ),
    "Engine and trainer": (
        "How far the engine's log-probs are from the trainer's. Small numbers are rounding.",
        (
            Metric("mismatch/log_ratio_mean", NATS, "mean of log trainer - log engine"),
            Metric("mismatch/log_ratio_abs_mean", NATS, "mean distance of the two"),
            Metric("mismatch/log_ratio_abs_max", "nats", "greatest distance on a token"),
            Metric("mismatch/sequence_log_ratio_abs_mean", "nats", "mean distance on a whole response"),
            Metric("mismatch/sequence_log_ratio_abs_max", "nats", "greatest distance on a whole response"),
            Metric("mismatch/weight_mean", "above 0", "mean importance weight of `correction`"),
            Metric("mismatch/capped_frac", SHARE, "share of importance weights that `correction` capped or dropped"),
            Metric("engine/nonfinite_tokens", COUNT, "tokens whose engine log-prob is not finite; not in the loss"),
            Metric("engine/probe_gap", NATS, "mean distance of the two on test texts, right after a weight sync"),
            Metric("engine/probe_gap_max", NATS, "greatest distance on them"),
            Metric("engine/sync_seconds", SECONDS, "vLLM: sending the weights"),
            Metric("engine/verify_seconds", SECONDS, "vLLM: checking that they have arrived"),
            Metric("engine/weights_compared", COUNT, "vLLM: weights that were compared bit by bit"),
            Metric("engine/weights_not_compared", COUNT, "vLLM: weights that can't be compared"),
            Metric("engine/weights_differing", COUNT, "vLLM: weights that differ; above 0 the run ends"),
            Metric("engine/interruptions", COUNT, "vLLM server: requests that were broken off and sent again"),
        ),
    ),
    "Optimizer": (
        "One row per optimizer step, but for the groups.",
        (
            Metric("train/lr", "", "learning rate"),
            Metric("train/grad_norm", "", "norm of the gradient, before clipping"),
            Metric("train/masked_frac", SHARE, "share of responses of which no token counts in the loss"),
            Metric("train/nonfinite_steps_in_a_row", COUNT, "steps skipped in a row for a gradient that is not finite"),
            Metric("train/groups", COUNT, "groups trained on in the iteration"),
            Metric("train/set/{set}_frac", SHARE, "share of a set of a mixture among the groups trained on"),
        ),
    ),
    "Warnings": (
        "Counts since the run began. Each has a warning that says what to change.",
        (
            Metric("health/empty_rounds", COUNT, "rounds after which no group was kept"),
            Metric("health/all_zero_rounds_in_a_row", COUNT, "rounds in a row without a right response, up to now"),
            Metric("health/shortfalls", COUNT, "iterations that kept fewer groups than `train_groups`"),
            Metric("health/truncated_iterations", COUNT, "iterations with too many responses cut at the limit"),
            Metric(
                "health/biased_sampling_iterations",
                COUNT,
                "iterations sampled with `top_p` or `top_k`, which make ratios wrong",
                "health/biased_iterations",
            ),
            Metric(
                "health/small_pool_iterations",
                COUNT,
                "iterations with groups chosen by a pool below `rounds.min_pool`",
                "health/undecided_iterations",
            ),
            Metric("health/verifier_timeouts", COUNT, "responses on which the verifier ran out of time"),
            Metric("health/mismatched_iterations", COUNT, "iterations in which engine and trainer were too far apart"),
            Metric(
                "health/short_gap_iterations",
                COUNT,
                "iterations in which a predictor changed the share of short groups too much",
                "health/lopsided_iterations",
            ),
            Metric(
                "health/weights_changed_frac",
                SHARE,
                "share of watched weights that the iteration changed; near 0 nothing is learned",
                "health/moved_frac",
            ),
        ),
    ),
    "Prompts": (
        "Of the training set, over the whole run.",
        (
            Metric("prompts/seen_frac", SHARE, "share of prompts that were generated for"),
            Metric("prompts/visits_mean", COUNT, "how often, of those seen"),
            Metric("prompts/all_right_frac", SHARE, "share of those seen whose last group was all right"),
            Metric("prompts/all_wrong_frac", SHARE, "share of those seen whose last group was all wrong"),
        ),
    ),
    "Prediction": (
        "With a predictor; see [prediction](prediction.md).",
        (
            Metric("prediction/skipped_frac", SHARE, "share of draws that were skipped"),
            Metric("prediction/saved_frac", "at most 1", "1 - prompts per kept group / what a uniform draw needs"),
            Metric("prediction/calibration/{tenth}_predicted", SHARE, "mean prediction in a tenth, as 0.3 to 0.4"),
            Metric("prediction/calibration/{tenth}_kept", SHARE, "share of them that was kept"),
            Metric("prediction/calibration_error", SHARE, "mean distance of the two"),
            Metric("prediction/pool_effective_groups", COUNT, "groups of one weight that say as much as the pool"),
            Metric("prediction/short_frac", SHARE, "share of short groups, as the loss weighs them"),
            Metric("prediction/short_uniform_frac", SHARE, "the share that a uniform draw would have"),
            Metric("prediction/short_gap", "-1 to 1", "the difference of the two over the last iterations"),
            Metric("prediction/trained_effective_frac", SHARE, "groups trained on, by their weights in the loss"),
            Metric("prediction/audit/groups", COUNT, "groups drawn without prediction that are looked back on"),
            Metric("prediction/audit/below_{bound}_frac", SHARE, "share of them below a bound"),
            Metric("prediction/audit/below_{bound}_margin", SHARE, "95% margin of that share"),
            Metric("prediction/trained_prompts_frac", SHARE, "share of prompts that were trained on"),
            Metric("prediction/visits_per_trained_prompt", COUNT, "how often each of them was"),
            Metric("prediction/length_within", "", "variance of a group's place among lengths, of one prompt"),
            Metric("prediction/length_between", "", "the same, between prompts"),
            Metric("prediction/length_drift", "", "how much of it changes with time"),
            Metric("prediction/easy_probability", SHARE, "GRESO: chance of drawing a prompt that was all right"),
            Metric("prediction/hard_probability", SHARE, "GRESO: chance of drawing a prompt that was all wrong"),
        ),
    ),
    "Evaluation": (
        "One row per evaluation. `test/*` is the same of `lspo test`.",
        (
            Metric("{stage}/{set}/avg@{k}", SHARE, "share of right responses, k per prompt"),
            Metric("{stage}/{set}/pass@{k}", SHARE, "chance that at least one of k responses is right"),
            Metric("{stage}/{set}/maj@{k}", SHARE, "accuracy of the answer that most of k responses give"),
            Metric("{stage}/{set}/response_tokens", TOKENS, "mean length of a response"),
            Metric("{stage}/{set}/truncated_frac", SHARE, "share of responses that were cut at the limit"),
            Metric("{stage}/{set}/verifier_timeouts", COUNT, "responses on which the verifier ran out of time"),
        ),
    ),
}
"""The table, by section, with what holds of a whole section."""

METRICS = tuple(metric for _, metrics in SECTIONS.values() for metric in metrics)


def metric_of(name: str) -> Metric | None:
    """The entry of a logged name; None if there is none.

    Example:
        >>> metric_of("val/aime24/pass@8").meaning, metric_of("loss/unknown")
        ('chance that at least one of k responses is right', None)
    """
    found = [metric for metric in METRICS if _pattern(metric.name).fullmatch(name)]
    # The one that leaves the least to fill in.
    return max(found, key=lambda metric: len(re.sub(r"\{\w+\}", "", metric.name)), default=None)


def present_name(name: str) -> str | None:
    """What a metric is called now, of one by its old name; None of a name that is not an old one.

    Example:
        >>> present_name("rollout/reason/all_right_frac"), present_name("loss/total")
        ('rollout/of_all/all_right_frac', None)
    """
    for metric in METRICS:
        match = _pattern(metric.old).fullmatch(name) if metric.old else None
        if match:
            return metric.name.format(**match.groupdict())
    return None


@cache
def _pattern(name: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", name)
    # A stage is one of two words; everything else may have slashes, as names of sets do.
    return re.compile(
        "".join(
            re.escape(part) if place % 2 == 0 else f"(?P<{part}>{'val|test' if part == 'stage' else '.*'})"
            for place, part in enumerate(parts)
        )
    )
