"""What `validate` and `test` have measured, one line per set."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch import Callback, LightningModule, Trainer


class EvaluationTable(Callback):
    """Prints the result of an evaluation that was asked for by itself; those in training are `ResultSummary`'s."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        results = getattr(pl_module, "evaluation_results", None)
        if results and trainer.state.fn in ("validate", "test") and trainer.is_global_zero:
            print(table(results), flush=True)  # noqa: T201 - the one thing this callback is for

    on_test_end = on_validation_end


def table(results: Mapping[str, float]) -> str:
    """Results by `stage/set/metric` as text, one line per set.

    Example:
        >>> print(table({"val/a/avg@4": 0.5, "val/a/response_tokens": 12.25, "val/b/avg@1": 1.0}))
        val    avg@4  response_tokens    avg@1
        a      0.500           12.250
        b                                1.000
    """
    rows: dict[str, dict[str, float]] = {}
    stage = ""
    for name, value in results.items():
        stage, rest = name.split("/", 1)
        data_set, metric = rest.rsplit("/", 1)
        rows.setdefault(data_set, {})[metric] = value
    metrics = list(dict.fromkeys(metric for row in rows.values() for metric in row))
    first = max(map(len, [stage, *rows]))
    lines = [f"{stage:<{first}}  " + "  ".join(f"{metric:>7}" for metric in metrics)]
    for data_set, row in rows.items():
        cells = (f"{row[m]:.3f}" if m in row else "" for m in metrics)
        lines.append(
            f"{data_set:<{first}}  "
            + "  ".join(f"{cell:>{max(7, len(metric))}}" for cell, metric in zip(cells, metrics, strict=True))
        )
    return "\n".join(line.rstrip() for line in lines)
