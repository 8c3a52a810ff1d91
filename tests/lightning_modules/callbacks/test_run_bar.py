"""What a reader sees in a real terminal of several widths: the bar's rows, and every message in full."""

from __future__ import annotations

import os
import re
import signal
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


def _terminal() -> Any:
    spec = spec_from_file_location("terminal", Path(__file__).with_name("terminal.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


terminal = _terminal()

SCRIPT = """
import sys, warnings, logging
from lspo.cli.main import LSPOCommand
from lspo.lightning_modules import RolloutCallback
from lspo.lightning_modules.quiet import leave_out_banners

class Speak(RolloutCallback):
    def on_round_end(self, trainer, pl_module, report):
        if report.iteration == 0 and report.number == 0:
            print("PRINT " + "p" * 150 + " END")
            warnings.warn("WARNING " + "w" * 150 + " END")
            logging.getLogger("lightning.pytorch").info("LOG " + "l" * 150 + " END")

leave_out_banners()
LSPOCommand(trainer_defaults={"callbacks": [Speak()], "log_every_n_steps": 1, "num_sanity_val_steps": 0})
"""


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
def test_nothing_is_lost_above_the_bar(columns: int, policy_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(SCRIPT)
    command = [
        sys.executable, "run.py", "fit", "--config", "quickstart", "--model.model", str(policy_folder),
        "--data.reward=lspo.testing.ScriptedReward", "--data.train_groups=8", "--data.minibatch_groups=4",
        "--data.val.held_out.init_args.size=8", "--trainer.max_epochs=500",
    ]  # fmt: skip
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "PYTHONWARNINGS")}
    env |= {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    sent: list[str] = []

    def stop_in_iteration_2(process: int, text: str) -> None:
        if "Iteration 2/499" in text and not sent:
            sent.append(text)
            os.kill(process, signal.SIGINT)

    status, text = terminal.run_in_terminal(command, columns, env, stop_in_iteration_2)
    assert sent, text
    assert status == 130
    rows = terminal.screen(text, columns)
    # A line that the terminal has wrapped fills its row.
    whole = "".join(row if len(row) == columns else row + "\n" for row in rows)
    for message in ("PRINT " + "p" * 150 + " END", "w" * 150 + " END", "LOG " + "l" * 150 + " END"):
        assert message in whole
    assert "SIGINT: stopping after this round or iteration; again: at once." in whole
    assert re.search(r"^Stopped .* Go on with the same command and --ckpt_path (runs/\S+/stopped\.ckpt)$", whole, re.M)
    # The bar: two rows at most, each in one line of the terminal, with three metrics.
    shown = terminal.screen(sent[0], columns)
    metrics = r"accuracy \d\.\d\d kept \d\.\d\d length \d+(\.\d\d)?"
    assert [re.search(metrics, row) is not None for row in shown if row.startswith("Iteration ")] == [True]
    assert sum("Rollouts" in row for row in shown) <= 1
    assert "it/s" not in text[text.index("Iteration 0") :]
    assert "litlogger" not in text
