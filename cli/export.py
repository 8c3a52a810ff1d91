"""The command `lspo export`: the policy of a checkpoint as a folder that transformers reads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

DTYPES = ("float32", "bfloat16", "float16")


def export(arguments: Sequence[str]) -> None:
    """Runs the command; ends with one message where somebody can mend what went wrong."""
    given = _parser().parse_args(arguments)
    # Its help and wrong flags need none of these.
    import torch

    from lspo.cli.before_run import check_checkpoint
    from lspo.cli.errors import exit_status, report
    from lspo.lightning_modules.export import export_checkpoint

    dtype = None if given.dtype is None else getattr(torch, given.dtype)
    try:
        check_checkpoint(given.checkpoint, "export")
        export_checkpoint(given.checkpoint, given.folder, model=given.model, dtype=dtype)
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        report(error, status)
        raise SystemExit(status) from None
    print(f"Wrote {given.folder}")  # noqa: T201 - what the command says


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lspo export",
        description="Writes the policy of a checkpoint, a file or a sharded folder, as transformers reads it: "
        "AutoModelForCausalLM.from_pretrained(FOLDER), vllm serve FOLDER, --model.model=FOLDER.",
    )
    parser.add_argument("checkpoint", help="what a run wrote, as runs/quickstart/version_0/checkpoints/last.ckpt")
    parser.add_argument("folder", help="where to; empty or not there")
    parser.add_argument("--model", help="the model that was trained, if the checkpoint's own word is out of date")
    parser.add_argument("--dtype", choices=DTYPES, help="type of the written weights; left out: as they were trained")
    return parser
