"""What strategies need of the weights, as far as one process shows it; the rest is in tests/ranks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, StrategyRegistry
from torch import nn

from lspo.lightning_modules import FSDP2Strategy, FSDPShardedStrategy, PolicyModule
from lspo.lightning_modules.sharding import (
    FullyShardedOne,
    FullyShardedTwo,
    Sharding,
    _Skeleton,
    layer_classes,
    sharding_for,
)
from lspo.models.tokenizers import character_tokenizer
from lspo.tasks.running_sum import ALPHABET
from lspo.testing import tiny_model


@pytest.fixture(params=[True, False])
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_model(character_tokenizer(ALPHABET), tie_word_embeddings=request.param, initializer_range=0.3)


def test_each_strategy_has_its_way() -> None:
    assert type(sharding_for(None)) is Sharding
    assert type(sharding_for(FSDPStrategy())) is FullyShardedOne
    assert type(sharding_for(FSDP2Strategy())) is FullyShardedTwo


def test_a_strategy_that_is_not_known_is_refused() -> None:
    strategy = DeepSpeedStrategy.__new__(DeepSpeedStrategy)
    with pytest.raises(ValueError, match="Expected a strategy of ddp, fsdp and fsdp2"):
        sharding_for(strategy)


@pytest.mark.parametrize(
    ("name", "kind", "offload"),
    [("fsdp2", FSDP2Strategy, False), ("fsdp2_cpu_offload", FSDP2Strategy, True)],
)
def test_short_names(name: str, kind: type, offload: bool) -> None:
    strategy = StrategyRegistry.get(name)
    assert type(strategy) is kind
    assert strategy.cpu_offload is offload


def test_the_short_name_of_sharded_files() -> None:
    strategy = StrategyRegistry.get("fsdp_sharded")
    assert type(strategy) is FSDPShardedStrategy
    assert strategy._state_dict_type == "sharded"


def test_peers_of_tensor_parallelism_see_one_batch() -> None:
    """Ranks 2 and 3 of four, two of which share each layer: both are the second of two that see different batches."""
    for rank in (2, 3):
        mesh = SimpleNamespace(size=lambda: 2, get_local_rank=lambda rank=rank: rank // 2)
        strategy: Any = SimpleNamespace(device_mesh={"data_parallel": mesh}, world_size=4, global_rank=rank)
        sharding = FullyShardedTwo(strategy)
        assert (sharding.data_parallel_size, sharding.data_parallel_rank) == (2, 1)
    assert Sharding(strategy).data_parallel_size == 4


def test_ranks_are_known_before_the_model_is_cut() -> None:
    """The datamodule refuses a mini-batch with too few rollouts for them before anything is generated."""
    policy = PolicyModule("unused")
    policy._trainer = SimpleNamespace(strategy=SimpleNamespace(world_size=3, global_rank=2))
    assert policy.data_parallel_size == 3
    assert policy.data_parallel_rank == 2


def test_layers_are_found(model: Any) -> None:
    assert {kind.__name__ for kind in layer_classes(model)} == {"Qwen2DecoderLayer"}
    stack = nn.ModuleDict(
        {"few": nn.ModuleList([nn.ReLU()]), "many": nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])}
    )
    assert layer_classes(stack) == {nn.Linear}
    with pytest.raises(ValueError, match="Expected Linear to name its layers"):
        layer_classes(nn.Linear(1, 1))


def test_a_skeleton_holds_weights_only_while_it_is_filled(model: Any) -> None:
    skeleton = _Skeleton(model)
    assert all(parameter.is_meta for parameter in skeleton.model.parameters())
    tokens = torch.tensor([[2, 3, 4]])
    with skeleton.filled(iter(model.state_dict().items()), torch.device("cpu")) as filled, torch.no_grad():
        assert torch.equal(filled(tokens).logits, model(tokens).logits)
        tied = filled.get_output_embeddings().weight is filled.get_input_embeddings().weight
        assert tied == model.config.tie_word_embeddings
        # Copies: what a gather yields is gone when the next is asked for.
        assert filled.get_input_embeddings().weight.data_ptr() != model.get_input_embeddings().weight.data_ptr()
    assert all(parameter.is_meta for parameter in skeleton.model.parameters())
    assert not any(parameter.is_meta for parameter in model.parameters())
