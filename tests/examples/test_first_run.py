"""The notebook: its cells run in order, and what it shows was written by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = json.loads((Path(__file__).parents[2] / "examples/first_run.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
SMALL = (
    '"--model.model.init_args.max_steps=25", "--data.train_groups=4", "--data.minibatch_groups=2", '
    '"--data.rounds.min_pool=4", "--data.rounds.on_shortfall=fill", "--data.val.held_out.init_args.size=40", '
    '"--data.evaluation.group_size=2", '
)


@pytest.mark.filterwarnings("ignore:The supervised start ended after", "ignore:.*were cut at.*", "ignore:No response")
@pytest.mark.filterwarnings("ignore:Iteration . kept", "ignore:No group was kept", "ignore:Iteration . trains on")
def test_its_cells_run(capsys: pytest.CaptureFixture[str]) -> None:
    """With a small run, of a policy that has hardly learned to write."""
    mpl = pytest.importorskip("matplotlib")
    mpl.use("Agg")
    from matplotlib import pyplot

    shown = 'f"--trainer.max_epochs'
    assert shown in CODE[0]
    names: dict[str, Any] = {"__name__": "__main__"}
    for code in (CODE[0].replace("ITERATIONS = 20", "ITERATIONS = 2").replace(shown, SMALL + shown), *CODE[1:]):
        code = code.replace("every_n_epoch=5", "every_n_epoch=1").replace("[::64]", "[::2]")
        exec(compile(code, "first_run.ipynb", "exec"), names)
    printed = capsys.readouterr().out
    assert "2 iterations," in printed
    assert printed.count(" before: ") == 6
    assert len(pyplot.get_fignums()) == 3
    pyplot.close("all")


def test_what_it_shows_was_written_by_its_cells() -> None:
    outputs = [output for cell in NOTEBOOK["cells"] for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert len(outputs) == len(CODE)
