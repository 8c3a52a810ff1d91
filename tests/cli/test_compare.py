"""`lspo compare`, as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lspo.cli.main import main


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for method, gain in (("dapo", 0.2), ("lspo", 0.25)):
        for seed in range(2):
            folder = tmp_path / "runs" / method / f"version_{seed}"
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text(f"seed_everything: {seed}\n")
            lines = [
                {
                    "evaluation": {
                        "val/held_out/avg@4": 0.5 + gain * done / 40 + 0.01 * seed,
                        "val/held_out/pass@4": 1,
                    },
                    "iteration": done, "steps": 2 * done, "tokens": 1000 * done, "cpu_seconds": 2.0 * done,
                }
                for done in (0, 20, 40)
            ]  # fmt: skip
            (folder / "iterations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path / "runs"


def test_the_terminal_and_three_files(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--markdown", "out/table.md", "--latex", "out/table.tex", "--plot", "out/curves.svg"]
    main(["compare", f"DAPO={runs / 'dapo'}", f"LSPO={runs / 'lspo'}", *files])
    shown = capsys.readouterr().out
    for words in (
        "val/held_out/avg@4 at 80 optimizer steps",
        "val/held_out/avg@4 at 40,000 generated tokens",
        "val/held_out/avg@4 at 80 processor seconds",
        "Against DAPO at 80 optimizer steps",
        "+0.050 [+0.050, +0.050]",
        "Fewer than 10 runs (DAPO 2, LSPO 2)",
        "Wrote out/curves.svg",
    ):
        assert words in shown
    assert "| LSPO | 0.755 [" in (tmp_path / "out/table.md").read_text()
    assert r"\toprule" in (tmp_path / "out/table.tex").read_text()
    assert (tmp_path / "out/curves.svg").read_text().startswith("<svg")


def test_what_is_chosen(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--metric", "val/held_out/pass@4", "--at", "tokens", "--baseline", "LSPO"]
    main(["compare", f"DAPO={runs / 'dapo'}", f"LSPO={runs / 'lspo'}", *words])
    shown = capsys.readouterr().out
    assert "val/held_out/pass@4 at 40,000 generated tokens" in shown
    assert "Against LSPO at" in shown
    assert "optimizer steps" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required"),
        (["runs/dapo"], "Expected NAME=RUN"),
        (["A=gone"], "gone. A run prints its folder"),
        (["A=runs/dapo", "A=runs/lspo"], "'A' comes twice"),
        (["A=runs/dapo", "--metric", "val/held_out/avg@8"], "Did you mean val/held_out/avg@4?"),
        (["A=runs/dapo", "--baseline", "B"], "Expected --baseline to be one of A"),
        (["A=runs/dapo", "--at", "tokens,hours"], "but got 'hours'"),
        (["A=runs/dapo", "--at", "seconds"], "Expected a budget that all runs share"),
        (["A=runs/dapo", "--resamples", "10"], "at least 100"),
        (["A=runs/dapo", "--markdown", "runs/dapo"], "Expected to write runs/dapo"),
    ],
)
def test_one_message_where_something_is_wrong(
    runs: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *words])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_it_loads_neither_torch_nor_lightning(runs: Path) -> None:
    code = (
        "import sys; from lspo.cli.main import main; main(sys.argv[1:]); "
        "print({'torch', 'lightning', 'jsonargparse'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, "compare", f"A={runs / 'dapo'}"], capture_output=True, text=True, check=True
    )
    assert found.stdout.endswith("set()\n")
