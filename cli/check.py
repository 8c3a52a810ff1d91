"""The command `lspo check`: a look at a run before it is started."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

STOPPED = 1

EPILOG = """All other flags are those of `lspo fit`. Nothing is trained, and no folder is written. The exit status
is 0; 1 if something would stop or waste the run; 2 if a setting is wrong. Example:

  lspo check --config gsm8k --config qwen2.5_math_7b --problems 16
"""


def check(arguments: Sequence[str]) -> None:
    """Runs the command; ends with one message where a setting is wrong."""
    own, settings = _parser().parse_known_args(arguments)
    for flag, least in (("problems", 1), ("golds", 1), ("shown", 0)):
        if getattr(own, flag) < least:
            _parser().error(f"Expected --{flag} to be at least {least}, but got {getattr(own, flag)}.")
    if own.gold_form is not None and "{answer}" not in own.gold_form:
        _parser().error(
            f"Expected --gold-form to say where the answer goes with {{answer}}, but got {own.gold_form!r}."
        )
    # LightningCLI warns where it is given arguments, and the process has some too.
    sys.argv[1:] = []
    _command()(own, args=["fit", *settings])


def _command() -> Any:
    from lspo.cli.before_run import check_before_run, present_parents, remove_empty_log_folders
    from lspo.cli.check_sections import sections_of, verdict_of
    from lspo.cli.command import LSPOCommand
    from lspo.lightning_modules.quiet import leave_out_banners

    leave_out_banners()

    class CheckCommand(LSPOCommand):
        """Builds everything that `lspo fit` would, looks at it, and does not train."""

        def __init__(self, own: argparse.Namespace, **settings: Any) -> None:
            self.own = own
            super().__init__(**settings)

        def _run_subcommand(self, subcommand: str) -> None:
            present = present_parents(self.trainer)
            with self._told(present=present):
                settings = self.config_init[subcommand]
                check_before_run(self.trainer, self.model, self.datamodule, subcommand, settings.get("ckpt_path"))
                accelerator = self.config[subcommand]["trainer"].get("accelerator", "auto")
                verdicts = []
                for section in sections_of(self.model, self.datamodule, self.trainer, self.own, accelerator):
                    print(section.text(), flush=True)  # noqa: T201 - what the command says
                    verdicts += [finding.verdict for finding in section.findings]
            remove_empty_log_folders(self.trainer, present)
            print(verdict_of(verdicts))  # noqa: T201
            if "stop" in verdicts:
                raise SystemExit(STOPPED)

    return CheckCommand


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lspo check",
        description="Looks at a run before it is started: prompts as the model reads them, whether the reward gives 1 "
        "to the right answers, lengths, a small real sampling, and memory.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--problems", type=int, default=32, metavar="N", help="prompts that are sampled, default 32")
    parser.add_argument("--no-sample", action="store_true", help="do not load the model and sample")
    parser.add_argument(
        "--golds", type=int, default=200, metavar="N", help="right answers that are scored, default 200"
    )
    parser.add_argument(
        "--gold-form", metavar="TEXT", help="a right response, as '<answer>{answer}</answer>'; left out: usual forms"
    )
    parser.add_argument("--shown", type=int, default=2, metavar="N", help="prompts that are shown, default 2")
    return parser
