"""The command `lspo evaluate`: a model, or a checkpoint of a run, on a set of problems."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from lspo.cli.evaluation_data import KNOWN, REWARDS

EPILOG = """examples:
  lspo evaluate Qwen/Qwen2.5-0.5B-Instruct --data gsm8k --limit 200 --out results/qwen
  lspo evaluate runs/quickstart/version_0/checkpoints/last.ckpt --data running_sum --k 4
  lspo evaluate ./model --data problems.jsonl --prompt-column question --answer-column answer
"""


def evaluate(arguments: Sequence[str]) -> None:
    """Runs the command; ends with one message where somebody can mend what went wrong."""
    given = _parser().parse_args(arguments)
    # Its help and wrong flags need none of these.
    from lspo.cli.errors import exit_status, report
    from lspo.cli.evaluation import evaluated
    from lspo.cli.evaluation_result import as_text, write

    try:
        _check(given)
        result, rows = evaluated(given)
        if given.out is not None:
            write(given.out, result, rows)
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        report(error, status)
        raise SystemExit(status) from None
    print(as_text(result))  # noqa: T201 - what the command says
    if given.out is not None:
        print(f"Wrote {given.out}")  # noqa: T201


def _check(given: Any) -> None:
    from lspo.errors import SettingError

    for flag, least in (("k", 1), ("limit", 1), ("max_response_tokens", 1)):
        value = getattr(given, flag)
        if value is not None and value < least:
            raise SettingError(f"Expected --{flag.replace('_', '-')} to be at least {least}, but got {value}.")
    if given.temperature == 0 and given.k > 1:
        raise SettingError(
            f"Expected one response per problem at temperature 0, where all are alike, but got --k {given.k}. "
            "Set --k 1, or a --temperature above 0."
        )
    if any(not 1 <= k <= given.k for k in given.pass_at or ()):
        raise SettingError(f"Expected --pass-at between 1 and --k {given.k}, but got {given.pass_at}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lspo evaluate",
        description="Samples k responses to each problem, and reports avg@k, pass@k and maj@k with 95% intervals.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", help="a transformers folder, a hub name, or a checkpoint file of a run")
    add("--data", required=True, metavar="NAME", help=f"{', '.join(KNOWN)}, or a file of problems")
    add("--k", type=int, default=4, help="responses per problem, default 4")
    add("--pass-at", type=int, nargs="+", metavar="K", help="the k of each pass@k; left out: that of --k")
    add("--max-response-tokens", type=int, metavar="N", help="a response is cut there; default 1024, running_sum 24")
    add("--temperature", type=float, default=1.0, help="default 1; 0 is greedy, with --k 1")
    add("--top-p", type=float, default=1.0, help="default 1")
    add("--seed", type=int, default=0, help="of the sampling, default 0")
    add("--limit", type=int, metavar="N", help="only the first N problems")
    add("--out", metavar="FOLDER", help="write result.json, problems.jsonl and all responses there")
    add("--engine", choices=("transformers", "vllm"), default="transformers", help="what writes the responses")
    add("--batch-problems", type=int, default=64, metavar="N", help="problems at a time, default 64")
    add("--precision", help="Lightning's name; default bf16-true on a GPU, else 32-true")
    add("--base-model", metavar="MODEL", help="the model that a checkpoint is of, if its own word is out of date")
    data = parser.add_argument_group("how problems are read and asked")
    data.add_argument("--path", metavar="FILE", help="a local copy of a published set")
    data.add_argument("--prompt-column", default="question", help="of a file, default question")
    data.add_argument("--answer-column", default="answer", help="of a file, default answer")
    data.add_argument("--reward", choices=tuple(REWARDS), help="how answers are compared; of a file, default math")
    data.add_argument(
        "--instruction", help="added below each problem; default of published sets: think step by step, \\boxed{}"
    )
    data.add_argument(
        "--chat", choices=("auto", "yes", "no"), default="auto", help="ask through the chat template; auto: if any"
    )
    return parser
