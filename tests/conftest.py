"""What every test stands on: a seed, one thread count, and nothing left behind."""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

# Before the first import of what reads them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_DATASETS_CACHE", tempfile.mkdtemp(prefix="lspo-tests-"))
# Lightning's own calls, not ours.
os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")

import torch
from lightning.pytorch import Callback, Trainer

from lspo.datamodules import Batches, Evaluation, RolloutDataModule, Rounds
from lspo.held import Held
from lspo.lightning_modules import HealthWarnings, PolicyModule
from lspo.problems import RunningSumProblems
from lspo.rollout import Sampling
from lspo.sampling import AccuracyBand
from lspo.testing import ScriptedReward

torch.set_num_threads(1)

DATA_VARIABLE = "LSPO_TEST_DATA"


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests write below `tmp_path` alone, the cache of models included."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LSPO_HOME", str(tmp_path / "lspo_home"))
    yield
    assert not torch.distributed.is_initialized(), "the test left a process group behind"


@pytest.fixture(autouse=True)
def _no_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightningCLI warns if it is given arguments while the process, here pytest, has some of its own."""
    monkeypatch.setattr(sys, "argv", ["lspo"])


@pytest.fixture(scope="session")
def problem_sets() -> Path:
    """The folder of real problem sets; tests that need one say why they skip."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder or not Path(folder).is_dir():
        pytest.skip(f"{DATA_VARIABLE} does not name a folder of problem sets")
    return Path(folder)


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random policy with the built-in task's tokenizer, as a folder."""
    from lspo.models.tokenizers import character_tokenizer
    from lspo.tasks.running_sum import ALPHABET
    from lspo.testing import tiny_model

    folder = tmp_path_factory.mktemp("tiny_policy")
    tokenizer = character_tokenizer(ALPHABET)
    tiny_model(tokenizer, initializer_range=0.3).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Ranks:
    """A number of ranks on threads of this process, which meet where they exchange something."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size
        self._barrier = threading.Barrier(world_size, timeout=30)
        self._slots: list[Any] = [None] * world_size

    def gather(self, rank: int, item: Any) -> list[Any]:
        self._slots[rank] = item
        self._barrier.wait()
        items = list(self._slots)
        self._barrier.wait()
        return items

    def exchange(self, rank: int, items: Iterable[Any]) -> list[Any]:
        # As between processes: what arrives is a copy.
        sent = [pickle.dumps(item) for item in items]
        assert len(sent) == self.world_size
        return [pickle.loads(row[rank]) for row in self.gather(rank, sent)]

    def run(self, work: Callable[[int], Any]) -> list[Any]:
        """What `work` returns for each rank."""

        def guarded(rank: int) -> Any:
            try:
                return work(rank)
            except BaseException:
                self._barrier.abort()
                raise

        with ThreadPoolExecutor(self.world_size) as pool:
            return list(pool.map(guarded, range(self.world_size)))

    def held(self, rank: int, groups: Iterable[Any]) -> Held:
        return Held(groups, exchange=partial(self.exchange, rank), rank=rank, world_size=self.world_size)


@pytest.fixture
def ranks() -> type[Ranks]:
    return Ranks


@dataclass
class Run:
    """A Trainer, a policy and its data, ready to fit."""

    trainer: Trainer
    policy: PolicyModule
    data: RolloutDataModule

    def fit(self, ckpt_path: str | Path | None = None) -> Run:
        self.trainer.fit(self.policy, self.data, ckpt_path=ckpt_path)
        return self

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.policy.model.state_dict().items()}


def by_question(settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a datamodule: `rounds.max_age` and its like go into `rounds`, so that tests can change one alone."""
    kinds = {"rounds": Rounds, "batches": Batches, "evaluation": Evaluation}
    parts: dict[str, dict[str, Any]] = {group: {} for group in kinds}
    rest = {}
    for name, value in settings.items():
        group, dot, field = name.partition(".")
        (parts[group] if dot else rest)[field or name] = value
    return rest | {group: kinds[group](**part) for group, part in parts.items()}


@pytest.fixture
def make_run(policy_folder: Path, tmp_path: Path) -> Callable[..., Run]:
    """Builds small runs of the real pieces: two mini-batches of four groups of four an iteration.

    A setting within `rounds`, `batches` or `evaluation` is given by its dotted name, as in `rounds.max_age`.
    The reward is a coin that depends on the response, so that groups are mixed though nothing is ever right.
    """

    def make(
        callbacks: Sequence[Callback] = (),
        *,
        trainer: dict[str, Any] | None = None,
        policy: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
    ) -> Run:
        trainer_settings: dict[str, Any] = {
            "accelerator": "cpu",
            "max_epochs": 2,
            "default_root_dir": tmp_path,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
        }
        policy_settings: dict[str, Any] = {
            "optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        }
        data_settings: dict[str, Any] = {
            "reward": ScriptedReward(),
            "selector": AccuracyBand(),
            "group_size": 4,
            "train_groups": 8,
            "minibatch_groups": 4,
            "rounds.round_prompts": 12,
            "rounds.min_pool": 0,
            "sampling": Sampling(max_response_tokens=6),
            "evaluation.group_size": 2,
        }
        return Run(
            # Random weights seldom end a response.
            Trainer(**trainer_settings | (trainer or {}), callbacks=[HealthWarnings(max_truncated_frac=1), *callbacks]),
            PolicyModule(str(policy_folder), **policy_settings | (policy or {})),
            RolloutDataModule(RunningSumProblems(40), **by_question(data_settings | (data or {}))),
        )

    return make
