from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from lspo.models.layer_head import LayerHead
from lspo.models.logprobs import response_logprobs, response_positions, target_logprobs

NAN = float("nan")
H, V = 5, 11


class RecordingHead(nn.Module):
    """A linear head that writes down how many rows each call gave it."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.linear = nn.Linear(H, V, dtype=dtype)
        self.rows: list[int] = []

    @property
    def weight(self) -> nn.Parameter:
        return self.linear.weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        self.rows.append(len(hidden))
        return 3 * self.linear(hidden)


class Adapted(nn.Module):
    """A frozen layer, and a low-rank one that is trained beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(H, V, dtype=torch.float64).requires_grad_(False)
        self.down = nn.Linear(H, 2, bias=False, dtype=torch.float64)
        self.up = nn.Linear(2, V, bias=False, dtype=torch.float64)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.base(hidden) + self.up(self.down(hidden))


def hooked() -> nn.Module:
    layer = nn.Linear(H, V, dtype=torch.float64)
    layer.register_forward_hook(lambda module, given, logits: 3 * logits)
    return layer


def plain_function() -> Callable[[torch.Tensor], torch.Tensor]:
    layer = nn.Linear(H, V, dtype=torch.float64)

    def function(hidden: torch.Tensor) -> torch.Tensor:
        return 3 * layer(hidden)

    function.parameters = layer.parameters  # type: ignore[attr-defined]
    return function


def soft_cap(logits: torch.Tensor) -> torch.Tensor:
    return torch.tanh(logits / 0.8) * 0.8


HEADS: dict[str, Callable[[], Any]] = {
    "linear": lambda: nn.Linear(H, V, bias=False, dtype=torch.float64),
    "bias": lambda: nn.Linear(H, V, dtype=torch.float64),
    "softcap": lambda: LayerHead(nn.Linear(H, V, dtype=torch.float64), soft_cap),
    "tanh": lambda: LayerHead(nn.Linear(H, V, dtype=torch.float64), torch.tanh),
    "module": RecordingHead,
    "capped module": lambda: LayerHead(RecordingHead(), soft_cap),
    "tanh module": lambda: LayerHead(RecordingHead(), torch.tanh),
    "hooked": hooked,
    "adapted": Adapted,
    "frozen": lambda: nn.Linear(H, V, dtype=torch.float64).requires_grad_(False),
    "function": plain_function,
}


def trained(head: Any) -> list[nn.Parameter]:
    inside = head.layer if isinstance(head, LayerHead) else head
    return [parameter for parameter in inside.parameters() if parameter.requires_grad]


@pytest.fixture(params=HEADS)
def any_head(request: pytest.FixtureRequest) -> Any:
    return HEADS[request.param]()


@pytest.fixture
def head() -> RecordingHead:
    return RecordingHead()


@pytest.fixture
def layout():
    """Four rollouts with prompts of 3, 1, 2, 4 tokens and responses of 5, 2, 0, 4, the last with a hole; float64."""
    prompt_lengths = torch.tensor([3, 1, 2, 4])
    mask = torch.arange(5) < torch.tensor([5, 2, 0, 4])[:, None]
    mask[3, 1] = False
    return {
        "hidden": torch.randn(4, 9, H, dtype=torch.float64, requires_grad=True),
        "token_ids": torch.randint(V, (4, 9)),
        "prompt_lengths": prompt_lengths,
        "response_mask": mask,
    }


def slow_logprobs(hidden, token_ids, prompt_lengths, response_mask, head, temperature):
    """Token t of a response stands at prompt + t, and the distribution it was drawn from one place before."""
    distribution = (head(hidden) / temperature).log_softmax(dim=-1)  # (N, L, V): what the code must never hold
    logprobs = torch.zeros(response_mask.shape, dtype=hidden.dtype)
    entropies = torch.zeros(response_mask.shape, dtype=hidden.dtype)
    for row, offset in response_mask.nonzero().tolist():
        place = int(prompt_lengths[row]) + offset
        logprobs[row, offset] = distribution[row, place - 1, token_ids[row, place]]
        for of_token in distribution[row, place - 1]:
            entropies[row, offset] = entropies[row, offset] - of_token.exp() * of_token
    return logprobs, entropies


@pytest.mark.parametrize("chunk_tokens", [1, 3, 1024])
@pytest.mark.parametrize(
    ("temperature", "entropy"),
    [(1.0, None), (1.0, "logged"), (1.0, "trained"), (0.6, "trained"), ("each", "logged"), ("each", "trained")],
)
def test_values_and_gradients_equal_the_full_log_softmax(layout, any_head, chunk_tokens, temperature, entropy):
    leaves = [layout["hidden"], *trained(any_head)]
    each = torch.tensor([0.5, 1.0, 0.7, 1.6], dtype=torch.float64) if temperature == "each" else temperature
    logprobs, entropies = response_logprobs(
        **layout, head=any_head, temperature=each, chunk_tokens=chunk_tokens,
        with_entropy=entropy is not None, entropy_gradient=entropy == "trained",
    )  # fmt: skip
    heat = each[:, None, None] if temperature == "each" else each
    slow, slow_entropies = slow_logprobs(**layout, head=any_head, temperature=heat)
    weights, entropy_weights = torch.randn(2, 4, 5, dtype=torch.float64)

    assert_close(logprobs, slow)
    expected, actual = (weights * slow).sum(), (weights * logprobs).sum()
    if entropy is None:
        assert entropies is None
    else:
        assert_close(entropies, slow_entropies)
        assert entropies.requires_grad == (entropy == "trained")
    if entropy == "trained":
        expected = expected + (entropy_weights * slow_entropies).sum()
        actual = actual + (entropy_weights * entropies).sum()
    assert_close(torch.autograd.grad(actual, leaves), torch.autograd.grad(expected, leaves), rtol=1e-10, atol=1e-10)


def test_the_entropy_may_be_all_that_is_trained(layout, any_head):
    leaves = [layout["hidden"], *trained(any_head)]
    _, entropies = response_logprobs(**layout, head=any_head, chunk_tokens=3, with_entropy=True)
    _, slow = slow_logprobs(**layout, head=any_head, temperature=1)
    assert_close(torch.autograd.grad(entropies.sum(), leaves), torch.autograd.grad(slow.sum(), leaves))


def test_a_graph_may_be_used_twice(layout, any_head):
    leaves = [layout["hidden"], *trained(any_head)]
    before = layout["hidden"].detach().clone()
    logprobs, entropies = response_logprobs(**layout, head=any_head, chunk_tokens=3, with_entropy=True)
    loss = logprobs.sum() + entropies.square().sum()
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    assert all(one.equal(other) for one, other in zip(first, torch.autograd.grad(loss, leaves), strict=True))
    assert layout["hidden"].equal(before)


@pytest.mark.parametrize("kind", [name for name in HEADS if name != "function"])
def test_a_second_derivative_is_refused(layout, kind):
    logprobs, _ = response_logprobs(**layout, head=HEADS[kind]())
    (gradient,) = torch.autograd.grad(logprobs.square().sum(), layout["hidden"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_each_parameter_gets_its_gradient_once(layout, any_head):
    """However many chunks there are: DDP counts, and waits for no second one."""
    times: dict[str, int] = {}
    for number, parameter in enumerate(trained(any_head)):

        def count(tensor: torch.Tensor, name: str) -> None:
            times[name] = times.get(name, 0) + 1

        parameter.register_hook(lambda gradient, number=number: count(gradient, f"hook {number}"))
        parameter.register_post_accumulate_grad_hook(lambda tensor, number=number: count(tensor, f"end {number}"))
    logprobs, _ = response_logprobs(**layout, head=any_head, chunk_tokens=3)
    logprobs.sum().backward()
    assert times == {f"{kind} {number}": 1 for kind in ("hook", "end") for number in range(len(trained(any_head)))}


def test_hidden_states_without_a_gradient(layout, any_head):
    """Of a frozen backbone."""
    layout["hidden"].requires_grad_(False)
    logprobs, _ = response_logprobs(**layout, head=any_head, chunk_tokens=3)
    slow, _ = slow_logprobs(**layout, head=any_head, temperature=1)
    weights = trained(any_head)
    assert logprobs.requires_grad == bool(weights)
    if weights:
        assert_close(torch.autograd.grad(logprobs.sum(), weights), torch.autograd.grad(slow.sum(), weights))


IDENTITIES = [nn.Identity(), lambda hidden: hidden]
"""A head that gives what it is given: as one node of the graph, and as a plain function."""


@pytest.mark.parametrize("identity", IDENTITIES)
def test_what_a_head_is_given_stays_as_it_is(identity):
    """Logits are used up where they are in memory, but not those that are the caller's."""
    logits = torch.randn(4, V, requires_grad=True)
    before = logits.detach().clone()
    logprobs, _ = target_logprobs(logits, torch.arange(4), identity, temperature=0.7, with_entropy=True)
    assert logits.equal(before)
    logprobs.sum().backward()
    assert logits.equal(before)


@pytest.mark.parametrize("identity", IDENTITIES)
def test_by_hand(identity):
    """Logits log 1, log 3 at temperature 1: probabilities 1/4, 3/4. At 1/2 they are squared: 1/10, 9/10."""
    hidden = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]], dtype=torch.float64)
    targets = torch.tensor([0, 1])
    for temperature, probabilities in ((1.0, (0.25, 0.75)), (0.5, (0.1, 0.9))):
        logprobs, entropies = target_logprobs(hidden, targets, identity, temperature=temperature, with_entropy=True)
        assert_close(logprobs.exp(), torch.tensor(probabilities, dtype=torch.float64))
        entropy = -sum(p * math.log(p) for p in probabilities)
        assert_close(entropies, torch.tensor([entropy, entropy], dtype=torch.float64))


def test_gradient_is_that_of_the_value(any_head):
    targets = torch.tensor([0, 3, 10, 3])

    def values(hidden):
        return target_logprobs(hidden, targets, any_head, temperature=0.7, chunk_tokens=3, with_entropy=True)

    assert torch.autograd.gradcheck(values, torch.randn(4, H, dtype=torch.float64, requires_grad=True))


def test_positions_by_hand():
    """Prompt of 3: its first response token, at 3, is predicted by place 2. Prompt of 1: by places 0 and 1."""
    rows, columns = response_positions(
        torch.tensor([3, 1, 2]), torch.tensor([[True, False, True], [True, True, False], [False, False, False]])
    )
    assert rows.tolist() == [0, 0, 1, 1]
    assert columns.tolist() == [2, 4, 0, 1]


@pytest.mark.parametrize("chunk_tokens", [1, 4, 9, 10, 64])
@pytest.mark.parametrize("gradient", [False, True])
def test_head_sees_each_counted_token_and_no_more_than_a_chunk_at_once(layout, head, chunk_tokens, gradient):
    """Prompts, padding and tokens left out cost no logits; the backward pass makes each chunk's once again."""
    tokens = int(layout["response_mask"].sum())
    assert tokens == 10
    with torch.set_grad_enabled(gradient):
        logprobs, _ = response_logprobs(**layout, head=head, chunk_tokens=chunk_tokens)
    assert max(head.rows) <= chunk_tokens
    assert sum(head.rows) == tokens
    assert logprobs.requires_grad == gradient
    if gradient:
        logprobs.sum().backward()
        assert max(head.rows) <= chunk_tokens
        assert sum(head.rows) == 2 * tokens


def test_no_logits_are_kept_for_the_backward_pass(layout, head):
    kept = []

    def keep(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        response_logprobs(**layout, head=head, chunk_tokens=4, with_entropy=True)
    # (V,) is the bias of the head.
    assert not [shape for shape in kept if len(shape) > 1 and shape[-1] == V]


@pytest.mark.parametrize("chunk_tokens", [3, 1024])
def test_what_predicts_no_counted_token_has_no_part(layout, head, chunk_tokens):
    """Neither hidden states nor ids of prompt and padding, NaN and the like included."""
    rows, columns = response_positions(layout["prompt_lengths"], layout["response_mask"])
    predicts = torch.zeros(4, 9, dtype=torch.bool)
    predicts[rows, columns] = True
    counted = torch.zeros(4, 9, dtype=torch.bool)
    counted[rows, columns + 1] = True
    spoiled = {
        **layout,
        "hidden": layout["hidden"].detach().masked_fill(~predicts[..., None], NAN).requires_grad_(),
        "token_ids": layout["token_ids"].masked_fill(~counted, 10**9),
    }

    expected, _ = response_logprobs(**layout, head=head, chunk_tokens=chunk_tokens)
    actual, _ = response_logprobs(**spoiled, head=head, chunk_tokens=chunk_tokens)
    assert torch.equal(actual, expected)
    assert torch.all(actual[~layout["response_mask"]] == 0)
    actual.sum().backward()
    assert torch.isfinite(head.weight.grad).all()
    assert torch.all(spoiled["hidden"].grad[~predicts] == 0)
    assert torch.all(spoiled["hidden"].grad[predicts] != 0)


def test_mask_with_any_memory_layout(layout, head):
    mask = layout["response_mask"]
    expected, _ = response_logprobs(**layout, head=head)
    for other in (mask.t().contiguous().t(), torch.stack([mask, ~mask], dim=-1)[..., 0]):
        assert not other.is_contiguous()
        assert torch.equal(response_logprobs(**{**layout, "response_mask": other}, head=head)[0], expected)


def test_row_order_and_extra_padding_change_nothing(layout, head):
    expected, _ = response_logprobs(**layout, head=head, chunk_tokens=3)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = {name: value[order] for name, value in layout.items()}
    assert_close(response_logprobs(**shuffled, head=head, chunk_tokens=3)[0], expected[order])
    pad = nn.functional.pad
    wider = {
        "hidden": pad(layout["hidden"], (0, 0, 0, 2)),
        "token_ids": pad(layout["token_ids"], (0, 2)),
        "prompt_lengths": layout["prompt_lengths"],
        "response_mask": pad(layout["response_mask"], (0, 2)),
    }
    assert_close(response_logprobs(**wider, head=head, chunk_tokens=3)[0], pad(expected, (0, 2)))


@pytest.mark.parametrize("with_entropy", [False, True])
def test_an_empty_mask_gives_zeros_with_a_graph(layout, any_head, with_entropy):
    layout["response_mask"] = torch.zeros_like(layout["response_mask"])
    outputs = [x for x in response_logprobs(**layout, head=any_head, with_entropy=with_entropy) if x is not None]
    assert len(outputs) == 1 + with_entropy
    assert sum(getattr(any_head, "rows", [])) == 0
    for output in outputs:
        assert output.shape == (4, 5)
        assert torch.all(output == 0)
    sum(output.sum() for output in outputs).backward()
    assert torch.all(layout["hidden"].grad == 0)
    assert all(torch.all(parameter.grad == 0) for parameter in trained(any_head))


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_result_is_float32_or_finer(dtype, expected):
    logprobs, entropies = target_logprobs(
        torch.randn(4, H, dtype=dtype), torch.tensor([0, 1, 2, 3]), RecordingHead(dtype), with_entropy=True
    )
    assert logprobs.dtype == entropies.dtype == expected


@pytest.mark.parametrize("identity", IDENTITIES)
def test_the_softmax_of_bfloat16_logits_is_taken_in_float32(identity):
    logits = (4 * torch.randn(6, V)).bfloat16().requires_grad_()
    # The gradient of a likely token's logit is the small difference 1 - p, in 16 bits nothing.
    logits.data[0] = torch.tensor([0.0, 5.0, *[-20.0] * (V - 2)])
    targets = torch.tensor([1, 1, 2, 3, 4, 5])
    logprobs, entropies = target_logprobs(logits, targets, identity, temperature=0.7, with_entropy=True)
    expected = (logits.float() / 0.7).log_softmax(dim=-1)
    assert_close(logprobs, expected[torch.arange(6), targets])
    assert_close(entropies, -(expected.exp() * expected).sum(dim=-1))
    found, wanted = (torch.autograd.grad(values.sum(), logits)[0] for values in (logprobs, expected[range(6), targets]))
    assert_close(found, wanted, rtol=2**-7, atol=1e-9)
    assert 0 < float(found[0, 1]) < 2e-3


@pytest.mark.parametrize("kind", ["linear", "bias", "softcap", "module"])
def test_gradients_in_bfloat16(layout, kind):
    """As near to those of float64 as the whole logits' in bfloat16 are."""
    head = HEADS[kind]()
    inside = head.layer if isinstance(head, LayerHead) else head
    exact = torch.autograd.grad(response_logprobs(**layout, head=head)[0].sum(), [layout["hidden"], *trained(head)])
    inside.bfloat16()
    layout["hidden"] = layout["hidden"].detach().bfloat16().requires_grad_()
    logprobs, _ = response_logprobs(**layout, head=head, chunk_tokens=4)
    assert logprobs.dtype == torch.float32
    for found, wanted in zip(
        torch.autograd.grad(logprobs.sum(), [layout["hidden"], *trained(head)]), exact, strict=True
    ):
        assert found.dtype == torch.bfloat16
        assert float((found.double() - wanted).norm() / wanted.norm()) < 0.02


@pytest.mark.parametrize("kind", ["linear", "bias", "softcap", "module", "function"])
def test_under_autocast_the_backward_pass_makes_the_same_logits_again(layout, kind):
    """The chunk is computed a second time outside the `with`; it must be in bfloat16 there, too."""
    head = HEADS[kind]()
    for parameter in trained(head):
        parameter.data = parameter.data.float()
    hidden = layout["hidden"].detach().float().requires_grad_()
    leaves = [hidden, *trained(head)]
    layout["hidden"] = hidden
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logprobs, _ = response_logprobs(**layout, head=head, chunk_tokens=100)
        rows, columns = response_positions(layout["prompt_lengths"], layout["response_mask"])
        logits = head(hidden[rows, columns]).float()
    whole = logits.log_softmax(dim=-1).gather(-1, layout["token_ids"][rows, columns + 1][:, None]).squeeze(-1)
    assert logits.detach().bfloat16().float().equal(logits)
    assert_close(logprobs[layout["response_mask"]], whole)
    # The gradient of the logits is rounded to bfloat16 in both, after sums in another order: 2 ** -8.
    found, expected = torch.autograd.grad(logprobs.sum(), leaves), torch.autograd.grad(whole.sum(), leaves)
    assert_close(found, expected, rtol=2**-6, atol=2**-6)
    assert [gradient.dtype for gradient in found] == [torch.float32] * len(leaves)


@pytest.mark.parametrize("scale", [1e2, 1e4])
@pytest.mark.parametrize("identity", IDENTITIES)
def test_finite_at_large_logits(scale, identity):
    logits = (scale * torch.randn(6, V)).requires_grad_()
    logprobs, entropies = target_logprobs(logits, torch.arange(6), identity, with_entropy=True)
    (logprobs + entropies).sum().backward()
    assert torch.isfinite(logprobs).all()
    assert torch.isfinite(logits.grad).all()
    assert entropies.min() > -1e-3 * scale  # float32 rounds logits of this size at 1e-7 * scale * a few


@pytest.mark.parametrize("identity", IDENTITIES)
def test_tokens_that_are_masked_out_add_nothing_to_the_entropy(identity):
    """Of logits (log 1, log 3, -inf): H = 1/4 log 4 + 3/4 log 4/3, as without the third; its gradient is 0."""
    logits = torch.tensor([[0.0, math.log(3), -math.inf]], dtype=torch.float64, requires_grad=True)
    two = torch.tensor([[0.0, math.log(3)]], dtype=torch.float64, requires_grad=True)
    for values in (logits, two):
        logprobs, entropies = target_logprobs(values, torch.tensor([1]), identity, with_entropy=True)
        assert entropies.item() == pytest.approx(math.log(4) / 4 + 0.75 * math.log(4 / 3))
        assert logprobs.item() == pytest.approx(math.log(0.75))
        (2 * logprobs.sum() + entropies.sum()).backward()
    assert logits.grad is not None
    assert two.grad is not None
    assert_close(logits.grad[:, :2], two.grad)
    assert logits.grad[0, 2] == 0


@pytest.mark.parametrize("temperature", [0.0, -1.0, NAN])
def test_temperature_out_of_range(layout, head, temperature):
    with pytest.raises(ValueError, match="Expected `temperature` to be above 0, but got"):
        response_logprobs(**layout, head=head, temperature=temperature)
    with pytest.raises(ValueError, match="Expected `temperature` to be above 0, but got"):
        response_logprobs(**layout, head=head, temperature=torch.tensor([1.0, temperature, 1.0, 1.0]))


@pytest.mark.parametrize("chunk_tokens", [0, -1])
def test_chunk_tokens_out_of_range(layout, head, chunk_tokens):
    with pytest.raises(ValueError, match=f"Expected `chunk_tokens` to be at least 1, but got {chunk_tokens}"):
        response_logprobs(**layout, head=head, chunk_tokens=chunk_tokens)


def test_an_empty_prompt_is_refused_where_it_has_a_response(layout, head):
    """Place -1 exists in Python: it would be the last hidden state of the row."""
    layout["prompt_lengths"][2] = 0
    response_logprobs(**layout, head=head)
    layout["prompt_lengths"][1] = 0
    with pytest.raises(ValueError, match=r"Expected every prompt to have at least one token, .* row 1 has none"):
        response_logprobs(**layout, head=head)


SMALL = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.fixture(
    params=[
        (Qwen2ForCausalLM, Qwen2Config, True),
        (Qwen2ForCausalLM, Qwen2Config, False),
        (LlamaForCausalLM, LlamaConfig, False),
    ],
    ids=["qwen2-tied", "qwen2", "llama"],
)
def language_model(request):
    model_class, config_class, tied = request.param
    model = model_class(config_class(**SMALL, tie_word_embeddings=tied, initializer_range=0.3))
    return model.double().train()


@pytest.fixture
def rollouts():
    prompts, lengths = torch.tensor([5, 2, 7, 1]), torch.tensor([4, 6, 1, 3])
    ids = torch.randint(67, (4, 9))
    behind = torch.arange(9) >= (prompts + lengths)[:, None]
    return {
        "token_ids": ids.masked_fill(behind, 0),
        "prompt_lengths": prompts,
        "response_mask": torch.arange(6) < lengths[:, None],
    }


@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_of_a_transformers_model_equal_the_log_softmax_of_its_logits(language_model, rollouts, temperature):
    ids = rollouts["token_ids"]
    hidden = language_model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    logprobs, _ = response_logprobs(
        hidden, **rollouts, head=language_model.lm_head, temperature=temperature, chunk_tokens=3
    )

    full = (language_model(input_ids=ids, use_cache=False).logits / temperature).log_softmax(dim=-1)
    of_next = full[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)  # place k: log-prob of token k + 1
    lengths = rollouts["response_mask"].sum(dim=1).tolist()
    responses = [
        of_next[row, prompt - 1 : prompt - 1 + length]
        for row, (prompt, length) in enumerate(zip(rollouts["prompt_lengths"].tolist(), lengths, strict=True))
    ]
    for row, response in enumerate(responses):
        assert_close(logprobs[row, : len(response)], response)
        assert torch.all(logprobs[row, len(response) :] == 0)
    weights = [*language_model.parameters()]
    expected = torch.autograd.grad(torch.cat(responses).sum(), weights)
    assert_close(torch.autograd.grad(logprobs.sum(), weights), expected)


def test_of_a_transformers_model_padded_on_the_right_without_an_attention_mask_equal_each_row_alone(
    language_model, rollouts
):
    """Attention is causal and positions count from the left, so that nothing behind a response reaches it."""

    def logprobs(batch):
        hidden = language_model.base_model(input_ids=batch["token_ids"], use_cache=False).last_hidden_state
        return response_logprobs(hidden, **batch, head=language_model.lm_head, with_entropy=True)

    together, entropies = logprobs(rollouts)
    for row in range(4):
        prompt, mask = rollouts["prompt_lengths"][row], rollouts["response_mask"][row]
        length = int(mask.sum())
        alone, entropy = logprobs(
            {
                "token_ids": rollouts["token_ids"][row : row + 1, : prompt + length],
                "prompt_lengths": prompt[None],
                "response_mask": mask[None, :length],
            }
        )
        assert_close(together[row, :length], alone[0])
        assert_close(entropies[row, :length], entropy[0])
