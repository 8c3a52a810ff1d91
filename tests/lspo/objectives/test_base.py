"""What holds for every objective that `lspo.objectives` exports, those still to be written included."""

from __future__ import annotations

import dataclasses
import inspect
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import lspo.objectives
from lspo.objectives import BNPO, DAPO, GRPO, ClippedObjective, Objective, ObjectiveOutput

NAN = float("nan")
NEEDED: dict[str, Any] = {"max_response_tokens": 16}
"""Settings without a default, of any objective."""

EVERY_OBJECTIVE = [
    cls
    for cls in (getattr(lspo.objectives, name) for name in lspo.objectives.__all__)
    if issubclass(cls, Objective) and not inspect.isabstract(cls)
]
EXTREMES = {"loss/ratio_min": min, "loss/ratio_max": max}

# A sum in another order differs in the last bits alone; the contract of the project is 1e-10.
SAME = {"rtol": 1e-12, "atol": 1e-12}


def build(cls: type[Objective], **settings: Any) -> Objective:
    """The objective with those of the settings that it has."""
    names = {field.name for field in dataclasses.fields(cls) if field.init}
    needed = {field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING}
    return cls(**{name: NEEDED[name] for name in needed}, **{k: v for k, v in settings.items() if k in names})


TERMS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "clips": {"clip_low": 0.1, "clip_high": 0.5, "dual_clip": 1.3},
    "kl": {"kl_coef": 0.3, "kl": "k2"},
    "all": {"clip_low": 0.1, "dual_clip": 1.3, "kl_coef": 0.3, "kl_importance": True, "entropy_coef": 0.7},
}


@pytest.fixture(
    params=[(cls, terms) for cls in EVERY_OBJECTIVE for terms in TERMS], ids=lambda p: f"{p[0].__name__}-{p[1]}"
)
def objective(request):
    cls, terms = request.param
    return build(cls, **TERMS[terms])


def gradients(output: ObjectiveOutput, inputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    leaves = [inputs["logprobs"], inputs["entropies"]]
    return list(torch.autograd.grad(output.loss, leaves, allow_unused=True, materialize_grads=True))


def same(
    objective: Objective, inputs: dict[str, torch.Tensor], other: dict[str, torch.Tensor], undo=lambda grad: grad
) -> None:
    """Both inputs have one loss, one gradient (of `other` after `undo`) and one set of metrics."""
    expected, actual = objective(**inputs), objective(**other)
    assert_close(actual.loss, expected.loss, **SAME)
    for mine, its in zip(gradients(expected, inputs), gradients(actual, other), strict=True):
        assert_close(undo(its), mine, **SAME)
    assert actual.metrics.keys() == expected.metrics.keys()
    for name, value in expected.metrics.items():
        assert_close(actual.metrics[name], value, **SAME, msg=name)


def fresh(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def test_extra_padding_changes_nothing(objective, make_inputs):
    inputs = make_inputs()
    padded = {}
    for name, value in inputs.items():
        fill = {"response_mask": False, "advantages": None}.get(name, 3.0)
        wide = value if fill is None else torch.nn.functional.pad(value.detach(), (0, 4), value=fill)
        padded[name] = wide.detach().requires_grad_(value.requires_grad)
    same(objective, inputs, padded, undo=lambda grad: grad[:, :-4])


def test_row_order_changes_nothing(objective, make_inputs):
    inputs = make_inputs()
    order = torch.randperm(6)
    shuffled = {
        name: fresh(value[order].detach().requires_grad_(value.requires_grad)) for name, value in inputs.items()
    }
    same(objective, inputs, shuffled, undo=lambda grad: grad[order.argsort()])


def test_rows_left_out_change_nothing(objective, make_inputs):
    inputs = make_inputs()
    rest = {name: value[:-1].detach().requires_grad_(value.requires_grad) for name, value in inputs.items()}
    assert not inputs["response_mask"][-1].any()
    same(objective, inputs, rest, undo=lambda grad: torch.nn.functional.pad(grad, (0, 0, 0, 1)))


@pytest.mark.parametrize("junk", [NAN, math.inf, -math.inf])
def test_what_lies_outside_the_mask_reaches_nothing(objective, make_inputs, junk):
    inputs = make_inputs()
    outside = ~inputs["response_mask"]
    spoiled = {}
    for name, value in inputs.items():
        plain = value.detach() if name in ("response_mask", "advantages") else value.detach().masked_fill(outside, junk)
        spoiled[name] = plain.requires_grad_(value.requires_grad)
    same(objective, inputs, spoiled)
    for gradient in gradients(objective(**spoiled), spoiled):
        assert torch.all(gradient[outside] == 0)


def test_each_token_in_the_mask_has_a_gradient(make_inputs):
    """Without a clip in the way: else the zeros of the test above could be everywhere."""
    inputs = make_inputs(spread=0.0)
    inputs["old_logprobs"] = inputs["logprobs"].detach()
    for cls in EVERY_OBJECTIVE:
        objective = build(cls, entropy_coef=0.1)
        for gradient in gradients(objective(**inputs), inputs):
            assert torch.all(gradient[inputs["response_mask"]] != 0)


@pytest.mark.parametrize("sizes", [[3, 3], [1, 2, 3], [5, 1], [1, 1, 1, 1, 1, 1]])
def test_micro_batches_add_up_to_the_whole(objective, make_inputs, sizes):
    """Each cut to its longest response; in two of these splits, one holds nothing that counts."""
    inputs = make_inputs()
    mask = inputs["response_mask"]
    counts = {"num_tokens": int(mask.sum()), "num_sequences": int(mask.any(dim=1).sum())}
    whole = objective(**inputs)

    outputs, start = [], 0
    for size in sizes:
        rows = slice(start, start + size)
        width = 1 + max(mask[rows].nonzero()[:, 1].tolist(), default=0)
        cut = {name: value[rows] if value.ndim == 1 else value[rows, :width] for name, value in inputs.items()}
        outputs.append(objective(**cut, **counts))
        start += size

    total = ObjectiveOutput(sum(output.loss for output in outputs))
    assert_close(total.loss, whole.loss, **SAME)
    for mine, its in zip(gradients(whole, inputs), gradients(total, inputs), strict=True):
        assert_close(its, mine, **SAME)
    for name, value in whole.metrics.items():
        parts = [output.metrics[name] for output in outputs]
        assert_close(EXTREMES[name](parts) if name in EXTREMES else sum(parts), value, **SAME, msg=name)


def test_counts_left_out_are_those_of_the_batch(objective, make_inputs):
    inputs = make_inputs()
    mask = inputs["response_mask"]
    tokens, sequences = mask.sum().item(), mask.any(dim=1).sum().item()
    bare = objective(**inputs).loss
    assert_close(objective(**inputs, num_tokens=tokens, num_sequences=sequences).loss, bare, **SAME)
    assert_close(objective(**inputs, num_tokens=float(tokens), num_sequences=float(sequences)).loss, bare, **SAME)
    assert_close(objective(**inputs, num_tokens=4 * tokens, num_sequences=4 * sequences).loss, bare / 4, **SAME)


@pytest.mark.parametrize("counts", [{}, {"num_tokens": 0, "num_sequences": 0}, {"num_tokens": 9, "num_sequences": 3}])
def test_an_empty_mask_gives_a_zero_with_a_graph(objective, make_inputs, counts):
    inputs = make_inputs()
    inputs["response_mask"] = torch.zeros_like(inputs["response_mask"])
    output = objective(**inputs, **counts)
    output.loss.backward()
    assert output.loss.item() == 0
    assert torch.all(inputs["logprobs"].grad == 0)
    assert all(value.item() == 0 for name, value in output.metrics.items() if name not in EXTREMES)


@pytest.mark.parametrize("difference", [20.0, 21.0, 100.0, 1e4])
def test_finite_however_far_the_policies_part(objective, make_inputs, difference):
    inputs = {name: value.detach().float() for name, value in make_inputs().items() if name != "response_mask"}
    inputs["response_mask"] = torch.ones(6, 9, dtype=torch.bool)
    far = difference * torch.tensor([1.0, -1.0, 0.0]).repeat(18).view(6, 9)
    logprobs = inputs["logprobs"].requires_grad_()
    inputs["old_logprobs"] = logprobs.detach() - far
    inputs["ref_logprobs"] = logprobs.detach() - far.roll(1, dims=0)
    output = objective(**inputs)
    output.loss.backward()
    assert torch.isfinite(output.loss)
    assert torch.isfinite(logprobs.grad).all()
    assert all(torch.isfinite(value) for value in output.metrics.values())


def test_no_gradient_to_the_old_and_the_reference_policy(objective, make_inputs):
    inputs = make_inputs()
    others = [inputs["old_logprobs"].requires_grad_(), inputs["ref_logprobs"].requires_grad_()]
    assert torch.autograd.grad(objective(**inputs).loss, others, allow_unused=True) == (None, None)


def test_metrics_are_detached_scalars_under_slash_names(objective, make_inputs):
    metrics = objective(**make_inputs()).metrics
    assert {"loss/total", "loss/policy", "loss/entropy", "loss/ratio_min", "loss/ratio_max"} <= metrics.keys()
    assert ("loss/kl" in metrics) == objective.needs_reference
    for name, value in metrics.items():
        assert name.startswith("loss/")
        assert value.ndim == 0
        assert not value.requires_grad


def test_terms_add_up_to_the_total(objective, make_inputs):
    output = objective(**make_inputs())
    metrics = output.metrics
    total = metrics["loss/policy"] - objective.entropy_coef * metrics["loss/entropy"]
    if objective.needs_reference:
        total = total + objective.kl_coef * metrics["loss/kl"]
    assert_close(metrics["loss/total"], total, **SAME)
    assert_close(output.loss.detach(), total, **SAME)


@pytest.mark.parametrize("cls", EVERY_OBJECTIVE)
def test_token_weights_of_one_change_nothing_and_those_of_zero_leave_no_policy_loss(cls, make_inputs):
    objective = build(cls)
    inputs = make_inputs()
    weights = inputs.pop("token_weights")
    bare = objective(**inputs).loss
    assert torch.equal(objective(**inputs, token_weights=torch.ones_like(weights)).loss, bare)
    assert_close(objective(**inputs, token_weights=3 * torch.ones_like(weights)).loss, 3 * bare, **SAME)
    assert objective(**inputs, token_weights=torch.zeros_like(weights)).loss.item() == 0


def test_token_weights_leave_kl_and_entropy_alone(make_inputs):
    objective = DAPO(kl_coef=0.3, entropy_coef=0.7)
    inputs = make_inputs()
    weighted = objective(**inputs).metrics
    del inputs["token_weights"]
    bare = objective(**inputs).metrics
    for name in ("loss/kl", "loss/entropy", "loss/clip_high_frac", "loss/ratio_max"):
        assert torch.equal(weighted[name], bare[name])
    assert not torch.equal(weighted["loss/policy"], bare["loss/policy"])


@pytest.mark.parametrize("cls", [GRPO, DAPO, BNPO])
def test_ratio_metrics_by_hand(cls):
    """Ratios 5, 1.25, 0.5 where A > 0 and 0.75, 4 where A < 0; the last place, 100, does not count."""
    ratios = torch.tensor([[5.0, 1.25, 0.5], [0.75, 4.0, 100.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    metrics = cls(clip_low=0.2, clip_high=0.28, dual_clip=3.0)(
        logprobs=ratios.log() - 1,
        old_logprobs=torch.full((2, 3), -1.0),
        advantages=torch.tensor([1.0, -1.0]),
        response_mask=mask,
    ).metrics
    expected = {
        "loss/clip_high_frac": 1 / 5,  # 5 > 1.28; 4 is on the side that is not clipped
        "loss/clip_low_frac": 1 / 5,  # 0.75 < 0.8; 0.5 is on the side that is not clipped
        "loss/dual_clip_frac": 1 / 5,  # 4 > 3; 5 has A > 0
        "loss/ratio_min": 0.5,
        "loss/ratio_max": 5.0,
        "loss/kl_from_sampling": -math.log(5 * 1.25 * 0.5 * 0.75 * 4) / 5,  # the mean of log old - log new
    }
    assert expected.keys() <= metrics.keys()
    for name, value in expected.items():
        assert_close(metrics[name].item(), value, rtol=1e-6, atol=1e-6, msg=name)  # the logs are float32
    bare = cls()(logprobs=ratios, old_logprobs=ratios, advantages=torch.ones(2), response_mask=mask)
    assert "loss/dual_clip_frac" not in bare.metrics


def test_entropies_without_a_weight_are_logged_but_not_trained_on(make_inputs):
    inputs = make_inputs()
    output = DAPO()(**inputs)
    mask = inputs["response_mask"]
    assert_close(output.metrics["loss/entropy"], inputs["entropies"][mask].mean().detach(), **SAME)
    assert torch.all(gradients(output, inputs)[1] == 0)


def test_more_entropy_lowers_the_loss(make_inputs):
    inputs = make_inputs()
    objective = DAPO(entropy_coef=0.1)
    entropy_gradient = gradients(objective(**inputs), inputs)[1]
    mask = inputs["response_mask"]
    assert_close(entropy_gradient, -0.1 * mask.double() / mask.sum(), **SAME)


@pytest.mark.parametrize("cls", EVERY_OBJECTIVE)
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"clip_low": -0.1}, r"Expected `clip_low`, .* between 0 and 1, but got -0.1"),
        ({"clip_low": 1.5}, r"Expected `clip_low`, .* between 0 and 1, but got 1.5"),
        ({"clip_high": -0.1}, r"Expected `clip_high`, .* at least 0, but got -0.1"),
        ({"clip_high": NAN}, r"Expected `clip_high`, .* at least 0, but got nan"),
        ({"dual_clip": 1.0}, r"Expected `dual_clip` to be above 1, .* but got 1.0"),
        ({"dual_clip": NAN}, r"Expected `dual_clip` to be above 1, .* but got nan"),
        ({"kl": "k4"}, r"Expected `kl` to be one of 'k1', 'k2', 'k3', but got 'k4'"),
        ({"kl": "k1", "kl_coef": 0.1}, r"Expected `kl_importance=True` with kl='k1', but got False: .* is 0"),
        ({"kl_coef": -0.1}, r"Expected `kl_coef` to be at least 0, but got -0.1"),
        ({"kl_coef": NAN}, r"Expected `kl_coef` to be at least 0, but got nan"),
        ({"entropy_coef": -0.1}, r"Expected `entropy_coef` to be at least 0, but got -0.1"),
    ],
)
def test_settings_out_of_range(cls, setting, message):
    if not setting.keys() <= {field.name for field in dataclasses.fields(cls) if field.init}:
        pytest.skip(f"{cls.__name__} has no such setting")
    with pytest.raises(ValueError, match=message):
        build(cls, **setting)


@pytest.mark.parametrize("cls", [GRPO, DAPO])
@pytest.mark.parametrize("setting", [{"clip_low": 0.0, "clip_high": 0.0}, {"clip_low": 1.0, "clip_high": 1e9}])
def test_bounds_of_the_clips_are_allowed(cls, setting):
    cls(**setting)


@pytest.mark.parametrize("cls", EVERY_OBJECTIVE)
@pytest.mark.parametrize(
    ("setting", "missing", "message"),
    [
        ({"kl_coef": 0.1}, "ref_logprobs", "Expected `ref_logprobs`, as `kl_coef` is 0.1, but got None"),
        ({"entropy_coef": 0.1}, "entropies", "Expected `entropies`, as `entropy_coef` is 0.1, but got None"),
    ],
)
def test_a_term_without_its_input(cls, make_inputs, setting, missing, message):
    inputs = make_inputs()
    del inputs[missing]
    with pytest.raises(ValueError, match=message):
        build(cls, **setting)(**inputs)
    build(cls)(**inputs)


@pytest.mark.parametrize("cls", EVERY_OBJECTIVE)
def test_says_what_it_needs(cls):
    assert not build(cls).needs_reference
    assert not build(cls).needs_entropy
    assert build(cls, kl_coef=0.1).needs_reference
    assert build(cls, entropy_coef=0.1).needs_entropy


@pytest.mark.parametrize("cls", EVERY_OBJECTIVE)
def test_is_frozen_and_equal_by_value(cls):
    objective = build(cls)
    assert objective == build(cls)
    assert objective != build(cls, kl_coef=0.1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="kl_coef"):
        objective.kl_coef = 1.0


def test_an_aggregation_is_all_a_new_objective_must_say(make_inputs):
    with pytest.raises(TypeError, match="aggregate"):
        ClippedObjective()

    @dataclass(frozen=True)
    class Sum(ClippedObjective):
        def aggregate(self, values, mask, *, num_tokens, num_sequences):
            return (values * mask).sum()

    inputs = make_inputs()
    expected = DAPO(clip_high=0.2)(**inputs).loss * inputs["response_mask"].sum()
    assert_close(Sum()(**inputs).loss, expected, **SAME)
