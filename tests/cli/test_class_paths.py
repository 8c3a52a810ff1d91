"""What a configuration calls a class: its documented path, by whichever of its paths it was given."""

from __future__ import annotations

import inspect
import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import _typehints, _util

from lspo.cli import class_paths
from lspo.cli.main import LSPOCommand, main
from lspo.names import PLACE_OF, documented_path


def written(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    """The configuration that a run of these flags begins with."""
    with pytest.raises(SystemExit) as stop:
        LSPOCommand(args=["fit", *flags, "--print_config"])
    printed = capsys.readouterr()
    assert stop.value.code == 0, printed.err
    found: dict[str, Any] = yaml.safe_load(printed.out)
    return found


def class_paths_in(settings: Any) -> list[str]:
    if isinstance(settings, dict):
        own = [settings["class_path"]] if "class_path" in settings else []
        return own + [path for value in settings.values() for path in class_paths_in(value)]
    return [path for value in settings for path in class_paths_in(value)] if isinstance(settings, list) else []


def test_the_printed_configuration_of_the_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    """As it was before `lspo` had names of its own: configurations that runs have written say this."""
    assert class_paths_in(written(capsys, "--config=quickstart")) == [
        "lspo.lightning_modules.ResumableCSVLogger",
        "lspo.lightning_modules.IterationCheckpoint",
        "lspo.lightning_modules.EvaluationWriter",
        "lspo.lightning_modules.PretrainedWriter",
        "lspo.lightning_modules.RolloutWriter",
        "lspo.lightning_modules.ColdStart",
        "lspo.problems.demonstrations.RunningSumDemonstrations",
        "lspo.objectives.DAPO",
        "torch.optim.AdamW",
        "lspo.problems.RunningSumProblems",
        "lspo.rewards.ExactMatchReward",
        "lspo.problems.RunningSumProblems",
        "lspo.sampling.Chain",
        "lspo.sampling.AccuracyBand",
        "lspo.sampling.LengthBand",
        "lspo.rollout.TransformersEngine",
    ]


BY_FLAG = {
    "model.objective": "lspo.objectives.GRPO",
    "data.selector": "lspo.sampling.KeepAll",
    "data.downsample": "lspo.sampling.MaxVariance",
    "data.reward": "lspo.rewards.GSM8KReward",
    "data.engine": "lspo.rollout.VLLMEngine",
    "data.train": "lspo.problems.DatasetProblems",
    "model.model": "lspo.lightning_modules.RandomWeights",
    "trainer.callbacks": "lspo.lightning_modules.HealthWarnings",
}


def of(path: str) -> dict[str, Any]:
    """A class by its path, with what it can't do without."""
    needed = {"DatasetProblems": {"path": "rows.jsonl"}, "RandomWeights": {"config": {}, "tokenizer": "x"}}
    return {"class_path": path, "init_args": needed.get(path.rpartition(".")[2], {})}


def test_each_path_of_a_class_is_written_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for number, shown in enumerate(("{path}", "lspo.{name}", "{name}")):
        settings: dict[str, dict[str, Any]] = {"trainer": {}, "model": {}, "data": {}}
        for setting, path in BY_FLAG.items():
            section, _, key = setting.partition(".")
            given = of(shown.format(path=path, name=path.rpartition(".")[2]))
            settings[section][key] = [given] if key == "callbacks" else given
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(settings))
        found.append(written(capsys, "--config=quickstart", f"--config={number}.yaml"))
    assert set(BY_FLAG.values()) <= set(class_paths_in(found[0]))
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_another_path_of_the_same_class_keeps_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An overlay by `lspo.DAPO` is no other class than the recipe's `lspo.objectives.DAPO`, and the other way round."""

    def objective(first: str, second: str, *flags: str) -> tuple[float, float]:
        for name, path, settings in (("a", first, {"clip_low": 0.1}), ("b", second, {"kl_coef": 0.25})):
            chosen = {"model": {"objective": {"class_path": path, "init_args": settings}}}
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(chosen))
        found = written(capsys, "--config=quickstart", "--config=a.yaml", "--config=b.yaml", *flags)
        arguments = found["model"]["objective"]["init_args"]
        return arguments["clip_low"], arguments["kl_coef"]

    assert objective("lspo.objectives.DAPO", "lspo.DAPO") == (0.1, 0.25)
    assert objective("lspo.DAPO", "lspo.objectives.DAPO", "--model.objective=lspo.DAPO") == (0.1, 0.25)
    assert objective("lspo.objectives.DAPO", "lspo.GRPO") == (0.2, 0.25)


def test_the_path_that_is_documented_is_the_shortest_besides(capsys: pytest.CaptureFixture[str]) -> None:
    """So that configurations written before have it: what jsonargparse found, while `lspo` had no names."""
    for name, place in PLACE_OF.items():
        found = getattr(import_module(place), name)
        if inspect.isclass(found):
            assert class_paths.import_path(found) == f"{place}.{name}"
            # With classes, the rooms on the way down have none of it.
            parts = found.__module__.split(".")
            rooms = [".".join(parts[:size]) for size in range(2, len(parts) + 1)]
            assert next(room for room in rooms if vars(import_module(room)).get(name) is found) == place


def test_methods_and_other_classes_keep_their_paths() -> None:
    assert documented_path("lspo.Score.of") == "lspo.types.Score.of"
    assert documented_path("lspo.objectives.grpo.GRPO") == "lspo.objectives.grpo.GRPO"
    assert documented_path("my_lspo.DAPO") == "my_lspo.DAPO"
    assert documented_path("lspo.testing.ScriptedReward") == "lspo.testing.ScriptedReward"


def test_a_second_command_wraps_nothing_again() -> None:
    class_paths.install()
    once = [(_typehints.get_import_path, _util.get_import_path, _typehints.resolve_class_path_by_name)]
    class_paths.install()
    assert [(_typehints.get_import_path, _util.get_import_path, _typehints.resolve_class_path_by_name)] == once
    assert _typehints.get_import_path.__wrapped__.__module__ == "jsonargparse._util"
    assert not hasattr(_typehints.get_import_path.__wrapped__, "__wrapped__")


def test_a_jsonargparse_without_these_functions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_typehints, "resolve_class_path_by_name")
    with pytest.raises(RuntimeError, match=r"have `_typehints.resolve_class_path_by_name`, as versions 4.46 to 4.53"):
        class_paths.install()


def test_the_help_names_classes_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--help-all"], ["--data.reward.help", "lspo.MathReward"], ["--model.objective.help", "DAPO"]):
        with pytest.raises(SystemExit):
            LSPOCommand(args=["fit", *flags])
        printed = capsys.readouterr().out
        short = [name for name in PLACE_OF if f"lspo.{name}" in printed.replace("[...]", "")]
        assert [name for name in short if name != "collect"] == []  # `lspo.collecting` begins with that
        assert "lspo." in printed


def test_the_nearest_name_of_a_misspelled_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        LSPOCommand(args=["fit", "--config=quickstart", "--data.selector=lspo.LenghtBand"])
    assert "module 'lspo' has no attribute 'LenghtBand'\nDid you mean LengthBand?\n" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*were cut at.*")
def test_a_run_that_goes_on_with_the_other_paths_has_changed_nothing(
    policy_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Begun with documented paths, as a run of an earlier version; gone on with `lspo.X`, and with short names."""

    def settings(path_of: Any) -> dict[str, Any]:
        def one(path: str, **arguments: Any) -> dict[str, Any]:
            return {"class_path": path_of(path), "init_args": arguments}

        return {
            "trainer": {
                "accelerator": "cpu", "devices": 1, "max_epochs": 1, "enable_progress_bar": False,
                "enable_model_summary": False,
                "logger": one("lspo.lightning_modules.ResumableCSVLogger", save_dir="runs", name="tiny"),
                "callbacks": [one("lspo.lightning_modules.IterationCheckpoint", save_top_k=-1)],
            },
            "model": {"model": str(policy_folder), "objective": one("lspo.objectives.DAPO", clip_low=0.1)},
            "data": {
                "train": one("lspo.problems.RunningSumProblems", size=24), "reward": "lspo.testing.ScriptedReward",
                "selector": one("lspo.sampling.Chain", selectors=[one("lspo.sampling.AccuracyBand")]),
                "group_size": 4, "train_groups": 4, "minibatch_groups": 2,
                "rounds": {"round_prompts": 12, "min_pool": 0}, "sampling": {"max_response_tokens": 6},
            },
        }  # fmt: skip

    def name_of(path: str) -> str:
        return path.rpartition(".")[2]

    (tmp_path / "documented.yaml").write_text(yaml.safe_dump(settings(str)))
    (tmp_path / "public.yaml").write_text(yaml.safe_dump(settings(lambda path: f"lspo.{name_of(path)}")))
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(settings(name_of)))
    main(["fit", "--config=documented.yaml"])
    first = yaml.safe_load(Path("runs/tiny/version_0/config.yaml").read_text())
    assert set(class_paths_in(first)) >= {"lspo.objectives.DAPO", "lspo.sampling.Chain", "lspo.sampling.AccuracyBand"}
    caplog.set_level(logging.INFO)
    for name in ("public", "short"):
        caplog.clear()
        main(["fit", f"--config={name}.yaml", "--ckpt_path=last"])
        (message,) = [text for text in caplog.messages if text.startswith("The run goes on")]
        assert message.endswith("Its configuration is the same.")
