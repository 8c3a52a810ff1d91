"""What a newcomer types, and what comes back: screens that fit, answers at once, files that can be read again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lspo.cli.main import COMMANDS, LSPOCommand, main
from lspo.cli.recipes import recipe_paths

HEAVY = {"torch", "lightning", "transformers", "jsonargparse", "datasets", "yaml"}
SCREEN_LINES = 24
OVERLAYS = {name for name, path in recipe_paths().items() if path.read_text().startswith("# Overlay")}


def printed(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    """What a command that ends by itself writes to stdout; to stderr, if it is refused."""
    capsys.readouterr()
    try:
        main(list(words))
        ended = 0
    except SystemExit as stop:
        ended = int(str(stop.code))
    out, err = capsys.readouterr()
    assert ended == status, err
    assert "Traceback" not in err
    return err if status else out


@pytest.mark.parametrize(
    ("words", "status", "answer"),
    [
        (["--help"], 0, "usage: lspo COMMAND"),
        (["--version"], 0, "lspo 0."),
        (["recipes"], 0, "quickstart "),
        (["recipes", "dapo"], 0, "# Overlay: DAPO"),
        (["export", "--help"], 0, "usage: lspo export"),
        (["quickstart"], 2, "Type: lspo fit --config quickstart"),
        (["fti"], 2, "Did you mean fit?"),
        ([], 2, "Expected a command, as in `lspo fit --config quickstart`"),
    ],
)
def test_first_answers_import_nothing_heavy(words: list[str], status: int, answer: str) -> None:
    script = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('HEAVY', sorted({HEAVY!r} & set(sys.modules))))\n"
        "from lspo.cli.main import main\n"
        f"sys.argv = ['lspo', *{words!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert answer in done.stdout + done.stderr
    assert "HEAVY []" in done.stdout


def test_the_first_screen_has_every_command_and_fits(capsys: pytest.CaptureFixture[str]) -> None:
    screen = printed(capsys, "--help")
    assert printed(capsys, "help") == screen
    assert len(screen.splitlines()) <= SCREEN_LINES
    assert max(map(len, screen.splitlines())) <= 100
    assert [name for name in COMMANDS if f"\n  {name} " not in screen] == []
    assert set(LSPOCommand.subcommands()) < set(COMMANDS)


def test_help_of_a_command_has_ours_first_and_few_of_lightning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    short = printed(capsys, "fit", "--help")
    assert printed(capsys, "help", "fit") == short
    assert short.index("--model.model") < short.index("--data.train") < short.index("--trainer.max_epochs")
    assert "--trainer.detect_anomaly" not in short
    assert short.count("--trainer.") < 15
    assert len(short.splitlines()) < 150
    assert (
        "  --data.train NAME|CLASS                 Problems to train on: a set, or a hub name or file. [required]"
        in short
    )
    assert "  --data.group_size N                     Responses per prompt, G. [8]\n" in short
    assert short.endswith("All settings, with the other ones of Lightning: lspo fit --help-all\n")
    assert "[required]" not in printed(capsys, "test", "--help").partition("--data.train ")[2].partition("--data.")[0]
    everything = printed(capsys, "fit", "--help-all")
    assert "--trainer.detect_anomaly" in everything
    assert "--data.rounds.max_rounds" in everything


@pytest.mark.parametrize(
    ("setting", "known", "not_known"),
    [
        (
            "data.reward",
            ["MathReward", "FunctionReward", "--data.reward.function=my_module.my_function"],
            "RewardWrapper",
        ),
        ("data.selector", ["Chain", "LengthBand", "PaperLSPO"], "GroupSelector"),
        ("data.engine", ["TransformersEngine", "VLLMServerEngine"], "RolloutEngine"),
        ("model.objective", ["DAPO", "GSPO"], "Objective "),
    ],
)
def test_classes_are_listed(setting: str, known: list[str], not_known: str, capsys: pytest.CaptureFixture[str]) -> None:
    listed = printed(capsys, "fit", f"--{setting}.help")
    assert [name for name in known if name not in listed] == []
    assert f"\n  {not_known}" not in listed
    one = printed(capsys, "fit", f"--{setting}.help={known[0]}")
    assert known[0] in one
    assert "Settings of one" not in one


def configuration(capsys: pytest.CaptureFixture[str], *flags: str, command: str = "fit") -> str:
    return printed(capsys, command, *flags, "--print_config")


@pytest.mark.parametrize("name", [*recipe_paths(), None])
def test_a_printed_configuration_can_be_read_back(
    name: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every recipe, over its base if it is an overlay, and of flags alone."""
    bare = ["--model.model=policy", "--data.train=good.jsonl", "--data.reward=ExactMatchReward"]
    base = ["--config=quickstart"] if name in OVERLAYS else []
    text = configuration(capsys, *base, *([f"--config={name}"] if name else bare))
    assert "Unable to serialize" not in text
    assert yaml.safe_load(text)["data"]["selector"]["class_path"].startswith("lspo.sampling.")
    (tmp_path / "printed.yaml").write_text(text)
    assert configuration(capsys, "--config=printed.yaml") == text


@pytest.fixture
def bare(policy_folder: Path, tmp_path: Path) -> list[str]:
    """The fewest flags of a run with a tiny model: all else is at its default."""
    (tmp_path / "good.jsonl").write_text(json.dumps({"question": "12=", "answer": "3"}) + "\n")
    return [
        f"--model.model={policy_folder}", "--data.reward=ExactMatchReward", "--data.sampling.max_response_tokens=6",
        "--data.evaluation.group_size=2", "--trainer.accelerator=cpu", "--trainer.devices=1",
        "--trainer.logger=CSVLogger", "--trainer.logger.save_dir=runs", "--trainer.enable_progress_bar=false",
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*were cut at", "ignore:No group was kept", "ignore:Only 0.00% of the weights")
@pytest.mark.filterwarnings("ignore:No response of the last", "ignore:The dirpath has changed")
def test_the_configuration_of_a_run_starts_it_again(
    bare: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        *bare, "--data.train=RunningSumProblems", "--data.train.size=24", "--data.train_groups=4",
        "--data.minibatch_groups=4", "--data.group_size=4", "--data.rounds.min_pool=0",
        "--data.rounds.round_prompts=12", "--data.rounds.on_shortfall=fill", "--trainer.max_epochs=1",
        "--data.reward=lspo.testing.ScriptedReward",
        "--trainer.enable_model_summary=false",
    ]  # fmt: skip
    printed(capsys, "fit", *flags)
    (written,) = tmp_path.rglob("config.yaml")
    assert "Finished 1 iteration" in printed(capsys, "fit", f"--config={written}")


@pytest.mark.filterwarnings("ignore:.*were cut at")
@pytest.mark.parametrize(("command", "kind"), [("test", "test"), ("validate", "val")])
def test_evaluation_needs_no_training_data(
    command: str, kind: str, bare: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "avg@2" in printed(capsys, command, *bare, f"--data.{kind}.held_out=good.jsonl")


def test_a_script_that_trains_on_nothing_is_told_so(policy_folder: Path) -> None:
    from lightning.pytorch import Trainer

    from lspo.datamodules import RolloutDataModule
    from lspo.lightning_modules import PolicyModule
    from lspo.testing import ScriptedReward

    data = RolloutDataModule(None, ScriptedReward())
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    with pytest.raises(ValueError, match="Expected problems to train on as `train`, but got None"):
        trainer.fit(PolicyModule(str(policy_folder)), data)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["fit", "quickstart"], "Type: lspo fit --config quickstart\n"),
        (["fit", "mine.yaml"], "Type: lspo fit --config mine.yaml\n"),
        (["fit", "--recipe", "quickstart"], "Type: --config quickstart\n"),
        (["fit", "--config=quickstart", "--lr=1e-4"], "Type: --model.optimizer=AdamW --model.optimizer.lr=1e-4\n"),
        (["fit", "--config=quickstart", "--num_generations", "4"], "Type: --data.group_size=4\n"),
        (["fit", "--config=quickstart", "--data.group=4"], "unrecognized arguments: --data.group=4"),
        (["fit", "--config=quickstart", "--data.reward=judge"], "as in my_module.MyClass"),
        (["fit", "--config=quickstart", "--trainer.logger=csv"], "Type: --trainer.logger=CSVLogger"),
        (["fit", "--config=quickstart", "--trainer.precision=bfloat16"], "Type: --trainer.precision=bf16-mixed\n"),
        (["train"], "Did you mean fit?"),
    ],
)
def test_a_message_names_what_to_type(words: list[str], answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer in printed(capsys, *words, status=2)


def test_what_messages_name_can_be_typed(tmp_path: Path) -> None:
    """The learning rate as the message writes it."""
    flags = ["--config=quickstart", "--model.optimizer=AdamW", "--model.optimizer.lr=1e-4"]
    model = LSPOCommand(args=flags, run=False).model
    import torch

    assert model._optimizer([torch.nn.Parameter(torch.zeros(1))]).defaults["lr"] == 1e-4
