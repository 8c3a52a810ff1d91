"""Every recipe builds, alone or over its base, and says what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from lspo.cli.main import LSPOCommand, main
from lspo.cli.recipes import describe, recipe_paths, resolve
from lspo.objectives import BNPO, CISPO, DAPO, GRPO, GSPO, LUSPO, SAPO, DrGRPO, Objective
from lspo.sampling import AccuracyBand, AuthorsCodeLSPO, Chain, GroupSelector, KeepAll, LengthBand, PaperLSPO

# Recipes for GPUs build their Trainer too.
HERE = (
    "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.strategy=auto", "--trainer.precision=32-true",
)  # fmt: skip
OVERLAYS = {name for name, path in recipe_paths().items() if path.read_text().startswith("# Overlay")}


def build(*names: str, flags: tuple[str, ...] = ()) -> LSPOCommand:
    configs = [argument for name in names for argument in ("--config", name)]
    return LSPOCommand(args=[*configs, *flags], run=False)


@pytest.mark.parametrize("name", recipe_paths())
def test_a_recipe_builds(name: str) -> None:
    command = build("quickstart", name, flags=HERE) if name in OVERLAYS else build(name)
    assert command.datamodule is not None


@pytest.mark.parametrize("name", recipe_paths())
def test_a_recipe_starts_with_its_command(name: str) -> None:
    text = recipe_paths()[name].read_text(encoding="utf-8")
    assert re.search(rf"^# Command: .*--config {name}\b", text, re.MULTILINE)


@pytest.mark.parametrize("name", recipe_paths())
def test_a_misspelled_key_fails(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = yaml.safe_load(recipe_paths()[name].read_text(encoding="utf-8"))
    settings["data"]["train_gruops"] = 3
    path = tmp_path / "misspelled.yaml"
    path.write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit) as stop:
        build("quickstart", str(path)) if name in OVERLAYS else build(str(path))
    assert stop.value.code == 2
    assert "train_gruops" in capsys.readouterr().err


def test_overlays_compose() -> None:
    grpo = build("quickstart", "grpo")
    assert grpo.model.objective == GRPO(clip_low=0.2, clip_high=0.2)
    assert isinstance(grpo.datamodule.selector, KeepAll)

    dapo = build("quickstart", "grpo", "dapo")
    assert dapo.model.objective == DAPO()
    assert dapo.datamodule.selector == AccuracyBand()

    lspo = build("quickstart", "grpo", "lspo")
    assert lspo.model.objective == GRPO()
    assert isinstance(lspo.datamodule.selector, Chain)
    assert lspo.datamodule.selector.selectors == (AccuracyBand(), LengthBand(low=0.3, high=0.65, max=0.95))


@pytest.mark.parametrize(
    ("name", "objective", "selector"),
    [
        ("gspo", GSPO(), KeepAll()),
        ("dr_grpo", DrGRPO(max_response_tokens=24), KeepAll()),
        ("bnpo", BNPO(), KeepAll()),
        ("cispo", CISPO(), AccuracyBand()),
        ("sapo", SAPO(), KeepAll()),
        ("luspo", LUSPO(), Chain(AccuracyBand(), LengthBand(low=0.3, high=0.65, max=0.95))),
    ],
)
def test_objectives_at_the_settings_of_their_papers(name: str, objective: Objective, selector: GroupSelector) -> None:
    command = build("quickstart", name)
    assert command.model.objective == objective
    assert type(command.datamodule.selector) is type(selector)
    scale = "none" if name == "dr_grpo" else "group"
    assert command.datamodule._layout.scale == scale
    assert scale in objective.advantage_scales


def test_the_constant_of_dr_grpo_is_the_limit_of_its_responses() -> None:
    command = build("quickstart", "dr_grpo")
    assert command.model.objective.max_response_tokens == command.datamodule.sampling.max_response_tokens


@pytest.mark.parametrize(
    ("recipe", "selector", "round_prompts", "max_rounds"),
    [("lspo_paper", PaperLSPO, 256, 20), ("lspo_authors_code", AuthorsCodeLSPO, 1536, 10)],
)
def test_published_settings(recipe: str, selector: type, round_prompts: int, max_rounds: int) -> None:
    data = build("quickstart", "grpo", recipe).datamodule
    assert type(data.selector) is selector
    plan, layout = data._plan, data._layout
    assert (plan.pool, plan.round_prompts, plan.max_rounds, plan.min_pool) == ("round", round_prompts, max_rounds, 0)
    assert (plan.train_groups, plan.group_size, plan.on_shortfall) == (512, 8, "raise")
    assert (layout.minibatch_groups, layout.optimizer_steps) == (32, 16)
    sampling = data.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_response_tokens) == (1.0, 1.0, 2048)


def test_the_authors_objective_and_optimizer() -> None:
    model = build("quickstart", "grpo", "lspo_authors_code").model
    assert model.objective == DAPO(clip_low=0.2, clip_high=0.28, dual_clip=10.0)
    optimizer = model._optimizer([torch.nn.Parameter(torch.zeros(1))])
    scheduler = model._lr_scheduler(optimizer)
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([n * 1e-7 for n in range(1, 11)] + [1e-6, 1e-6])
    assert optimizer.defaults["weight_decay"] == 0.1
    assert model._lr_interval == "epoch"
    # The paper's leaves them as they were.
    assert build("quickstart", "grpo", "lspo_paper").model.objective == GRPO(clip_low=0.2, clip_high=0.2)


def test_a_class_named_by_flag_forgets_the_settings_of_the_one_before() -> None:
    command = build("quickstart", "dapo", flags=("--model.objective=GRPO",))
    assert command.model.objective == GRPO()
    tuned = build("quickstart", "dapo", flags=("--model.objective=GRPO", "--model.objective.clip_high=0.5"))
    assert tuned.model.objective == GRPO(clip_high=0.5)
    kept = build("quickstart", "dapo", flags=("--model.objective.clip_high=0.5",))
    assert kept.model.objective == DAPO(clip_high=0.5)


def test_one_seed_for_all() -> None:
    command = build("quickstart", flags=("--seed_everything=7",))
    assert command.datamodule.sampling.seed == 7


def test_recipes_are_described() -> None:
    assert {name for name, _ in describe()} == set(recipe_paths())
    assert all(len(line) > 20 for _, line in describe())


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"'quickstrt' is neither\. Did you mean 'quickstart'\? Recipes: .*lspo"
    ):
        resolve("quickstrt")


def test_a_recipe_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["recipes", "dapo"])
    assert capsys.readouterr().out == recipe_paths()["dapo"].read_text()
    main(["recipes", "--help"])
    assert re.search(r"^dapo  [\s\S]*`lspo recipes NAME` prints one", capsys.readouterr().out, re.MULTILINE)
    with pytest.raises(SystemExit) as stop:
        main(["recipes", "dapoo"])
    assert stop.value.code == 2
    assert "'dapoo' is none. Did you mean 'dapo'?" in capsys.readouterr().err
