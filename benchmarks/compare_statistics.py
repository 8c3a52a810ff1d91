"""Statistics of `lspo compare` beside those of rliable and scipy, on the same scores.

rliable needs pandas < 3, so this has an environment of its own:

    python -m venv .venv-rliable
    .venv-rliable/bin/pip install rliable scipy "pandas<3" pyyaml
    PYTHONPATH=. .venv-rliable/bin/python benchmarks/compare_statistics.py

Scores are random tables (runs, metrics), a method of 10 to 50 runs, with ties. Point estimates, t intervals and paired
tests are to be equal; of bootstrap intervals, which are drawn, the mean and largest difference of the bounds is given,
beside that of rliable with itself under another seed. What it gave is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse

import numpy as np
from rliable import library, metrics
from scipy import stats

from lspo.comparing.pairs import paired_test
from lspo.comparing.statistics import bootstrap_interval, improvement, interquartile_mean, mean, t_interval
from lspo.student import student_quantile

SIZES = ((10, 1), (12, 3), (25, 1), (50, 5))


def scores(runs: int, columns: int, seed: int) -> np.ndarray:
    """Accuracies in steps of 1/256, so that there are ties."""
    return np.random.default_rng(seed).binomial(256, 0.9, size=(runs, columns)) / 256


def rliable_interval(kind: str, tables: list[np.ndarray], resamples: int, seed: int) -> np.ndarray:
    if kind == "P(better)":
        pairs = {"a": tuple(tables)}
        found = library.get_interval_estimates(
            pairs, metrics.probability_of_improvement, reps=resamples, random_state=np.random.RandomState(seed)
        )
    else:
        one = {"mean": metrics.aggregate_mean, "IQM": metrics.aggregate_iqm}[kind]
        found = library.get_interval_estimates(
            {"a": tables[0]}, lambda x: np.array([one(x)]), reps=resamples, random_state=np.random.RandomState(seed)
        )
    return found[1]["a"].ravel()


def points() -> dict[str, float]:
    """The largest difference from the references, by statistic."""
    worst = dict.fromkeys(("mean", "IQM", "P(better)", "t quantile", "t interval", "paired test"), 0.0)

    def note(name: str, ours: float, theirs: float) -> None:
        worst[name] = max(worst[name], abs(ours - theirs))

    for seed in range(20):
        for runs, columns in SIZES:
            a, b = scores(runs, columns, seed), scores(runs + 2, columns, 100 + seed)
            note("mean", mean(a), metrics.aggregate_mean(a))
            note("IQM", interquartile_mean(a), metrics.aggregate_iqm(a))
            note("IQM", interquartile_mean(a), stats.trim_mean(a, 0.25, axis=None))
            note("P(better)", improvement(a, b), metrics.probability_of_improvement(a, b))
            ours = t_interval(a[:, 0])
            theirs = stats.ttest_1samp(a[:, 0], 0).confidence_interval(0.95)
            note("t interval", ours.low, theirs.low)
            note("t interval", ours.high, theirs.high)
        for pairs in (3, 5, 8, 11):
            a, b = scores(pairs, 1, seed)[:, 0], scores(pairs, 1, 200 + seed)[:, 0]
            theirs = stats.permutation_test(
                (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True,
                n_resamples=np.inf,
            ).pvalue  # fmt: skip
            note("paired test", paired_test(a - b).p, theirs)
    for freedom in (*range(1, 40), 100, 1000, 100_000):
        for share in (0.6, 0.9, 0.975, 0.9995):
            theirs = float(stats.t.ppf(share, freedom))
            note("t quantile", student_quantile(share, freedom) / theirs, 1.0)
    return worst


def intervals(kind: str, resamples: int, repeats: int) -> list[str]:
    statistic = {"mean": mean, "IQM": interquartile_mean, "P(better)": improvement}[kind]
    lines = []
    for runs, columns in SIZES:
        from_rliable, with_itself, widths = [], [], []
        for seed in range(repeats):
            tables = [scores(runs, columns, seed), scores(runs, columns, 100 + seed)][: 2 if kind == "P(better)" else 1]
            ours = bootstrap_interval(statistic, *tables, resamples=resamples, seed=seed)
            theirs, again = (rliable_interval(kind, tables, resamples, seed + shift) for shift in (0, 1000))
            from_rliable.append(np.abs(np.array([ours.low, ours.high]) - theirs))
            with_itself.append(np.abs(again - theirs))
            widths.append(theirs[1] - theirs[0])
        cells = [
            f"{np.mean(found) / np.mean(widths):.3f} (at most {np.max(found) / np.mean(widths):.3f})"
            for found in (from_rliable, with_itself)
        ]
        lines.append(f"| {kind} | {runs} x {columns} | {np.mean(widths):.4f} | {cells[0]} | {cells[1]} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resamples", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=["mean", "IQM", "P(better)"], help="intervals")
    given = parser.parse_args()
    print("largest difference:", ", ".join(f"{name} {value:.1e}" for name, value in points().items()))
    print("| interval | runs x metrics | width | from rliable, in widths | rliable from itself, in widths |")
    print("|---|---|---|---|---|")
    for kind in given.only:
        print("\n".join(intervals(kind, given.resamples, given.repeats)), flush=True)


if __name__ == "__main__":
    main()
