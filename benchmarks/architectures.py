"""Tries every causal language model type of transformers: does it train on what it wrote, or is it refused in words?

    python benchmarks/architectures.py                            # all, 5 to 10 minutes on one core
    python benchmarks/architectures.py --only llama mamba phi3:longrope
    python benchmarks/architectures.py --write docs/models.md --json architectures.json

For each type a tiny random model is made (`tiny_models.py`), and seven things are checked in float32:

    gap        what the engine reports of its own responses is what the trainer computes for them
    rows       a response's log-probs do not depend on what is beside it, and are those of transformers
    load       the loaded policy has the logits of `from_pretrained(folder).eval()`
    modes      its logits are the same in `train()` and in `eval()`
    names      names and shapes of `full_weights()` are those of the checkpoint
    gradient   one iteration of a real run gives each parameter the gradient that transformers' own forward gives it
    export     the trained policy, written and read again, has the same logits

A type `trains` if all hold. It is `refused` if a message of lspo's own says so before any training; and it is a
`fault` otherwise. What has an encoder, or looks at later tokens, has to be refused.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import linecache
import logging
import math
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor

from lspo.batching.collate import TrainingRollout, collate
from lspo.datamodules import RolloutDataModule
from lspo.lightning_modules import PolicyModule
from lspo.models.causal_lm import load_model, model_logprobs
from lspo.problems import Problem, ProblemSet
from lspo.rewards import FunctionReward
from lspo.rollout import Sampling, TransformersEngine
from lspo.rollout.local_policy import LocalPolicy
from lspo.sampling import KeepAll
from lspo.types import Prompt, Rollout, RolloutBatch, RolloutGroup

if __package__:
    from benchmarks import tiny_models
else:
    import tiny_models

NATS = 1e-3
"""Log-probs that differ by less are equal: the rest is rounding, in models whose weights are large."""
LOGITS = 1e-4
"""The same for logits, as a share of the largest; they should be equal to the last bit."""
GRADIENT = 1e-2
"""The same for gradients, as a share of the norm: weights are large, and so rounding is."""
GROUP_SIZE = 4
SAMPLING = Sampling(max_response_tokens=24)
CUTS = (6, 90, 31, 58)
"""Characters of each prompt."""
TRAINS, REFUSED, FAULT, NOT_MADE = "trains", "refused", "fault", "not made"


@dataclass
class Check:
    """One of the seven."""

    ok: bool
    told: str
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass
class Result:
    """What was found of a type; `reason` is why it was refused or could not be made."""

    name: str
    kind: str
    status: str
    reason: str = ""
    checks: dict[str, Check] = field(default_factory=dict)

    @property
    def gap(self) -> float | None:
        return self.checks["gap"].figures.get("max") if "gap" in self.checks else None

    @property
    def notes(self) -> str:
        if self.status in (REFUSED, NOT_MADE):
            return self.reason
        parts = [f"{name}: {check.told}" for name, check in self.checks.items() if check.told and not check.ok]
        parts += [f"{name}: {check.told}" for name, check in self.checks.items() if check.told and check.ok]
        return "; ".join([self.reason] * bool(self.reason) + parts)


class RefusedError(Exception):
    """What lspo says of a model that it does not train."""


def examine(name: str) -> Result:
    """Makes a model of this type, or variant, and looks at it."""
    with quiet(), tempfile.TemporaryDirectory(prefix="architectures-") as scratch:
        kind = tiny_models.kind_of(name)
        try:
            folder = tiny_models.make_folder(name, Path(scratch) / "model")
        except Exception as error:
            return Result(name, kind, NOT_MADE, tiny_models.WHY_NOT.get(name) or short(error))
        seed_everything(0, verbose=False)
        checks: dict[str, Check] = {}
        unfit = tiny_models.must_refuse(name) or not tiny_models.is_causal(folder)
        if unfit and kind not in ("encoder", "encoder-decoder"):
            kind = f"not causal, {kind}".removesuffix(", dense")
        try:
            _examine(folder, Path(scratch), checks, images=tiny_models.has_images(name))
        except RefusedError as refusal:
            return Result(name, kind, REFUSED, str(refusal).replace(str(folder), name), checks)
        for check in checks.values():
            check.told = check.told.replace(str(folder), name)
        good = all(check.ok for check in checks.values())
        if unfit:
            return Result(name, kind, FAULT, f"not refused, and {'trains' if good else 'does not train'}", checks)
        return Result(name, kind, TRAINS if good else FAULT, "", checks)


def _examine(folder: Path, scratch: Path, checks: dict[str, Check], *, images: bool) -> None:
    try:
        model = load_model(str(folder), dtype=torch.float32)
    except Exception as error:
        refuse_if_meant(error)
        checks["load"] = Check(False, short(error))
        return
    subject = Subject(folder, model)
    run = Run(folder, images=images)
    attempt(checks, "gap", lambda: gap(subject))
    attempt(checks, "rows", lambda: rows(subject))
    attempt(checks, "load", lambda: load(subject))
    attempt(checks, "modes", lambda: modes(subject))
    attempt(checks, "gradient", lambda: gradient(run, subject))
    attempt(checks, "names", lambda: names(run, subject))
    attempt(checks, "export", lambda: export(run, scratch / "export"))


def attempt(checks: dict[str, Check], name: str, look: Callable[[], Check]) -> None:
    try:
        checks[name] = look()
    except RefusedError:
        raise
    except Exception as error:
        checks[name] = Check(False, short(error))


# --- what is looked at


class Subject:
    """A loaded model, transformers' own of the same folder, and responses by the engine, made once."""

    def __init__(self, folder: Path, model: Any) -> None:
        from transformers import AutoModelForCausalLM

        self.folder, self.model = folder, model
        self.reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = PolicyModule(str(folder)).tokenizer
        self.policy = LocalPolicy(model, self.tokenizer)
        self.prompts = [problem.prompt(self.tokenizer) for problem in Questions().problems()]
        self.written: list[RolloutGroup] = []

    def write(self, prompts: list[Prompt], group_size: int) -> list[RolloutGroup]:
        engine = TransformersEngine()
        engine.setup(self.policy)
        engine.update()
        keys = [int(prompt.id) for prompt in prompts]
        groups = engine.generate(prompts, group_size=group_size, sampling=SAMPLING, keys=keys)
        return sorted(groups, key=lambda group: group.draw_index)

    @property
    def rollouts(self) -> list[TrainingRollout]:
        """The engine's; where it could not write any, made up, so that the trainer can be looked at by itself."""
        return training_rollouts(self.written or invented_groups(self.prompts))

    @property
    def text(self) -> Tensor:
        """One row without padding, longer than each window."""
        longest = max(self.rollouts, key=lambda item: item.num_tokens)
        return torch.tensor([longest.token_ids.tolist()])


def training_rollouts(groups: list[RolloutGroup]) -> list[TrainingRollout]:
    return [TrainingRollout(group.prompt.token_ids, one, 1.0, 0) for group in groups for one in group.rollouts]


def invented_groups(prompts: list[Prompt]) -> list[RolloutGroup]:
    draws = torch.Generator().manual_seed(0)
    groups = []
    for place, prompt in enumerate(prompts):
        sizes = [5 + (7 * place + 5 * sample) % 20 for sample in range(GROUP_SIZE)]
        ids = [torch.randint(2, 290, (size,), generator=draws).tolist() for size in sizes]
        rollouts = tuple(Rollout(tuple(row), (0.0,) * len(row), truncated=False, text="") for row in ids)
        groups.append(RolloutGroup(prompt, place, 0, rollouts))
    return groups


class Questions(ProblemSet):
    """Questions that break off at unlike lengths."""

    def problems(self) -> Iterator[Problem]:
        for place, cut in enumerate(CUTS):
            yield Problem(str(place), tiny_models.TEXTS[place][:cut], "1")


def coin(response: str, answer: str) -> bool:
    return hashlib.md5(response.encode()).digest()[0] % 2 == 1


class Run:
    """One iteration of a real run, and what its optimizer was about to step by."""

    def __init__(self, folder: Path, *, images: bool) -> None:
        self.folder, self.images = folder, images
        self.policy = PolicyModule(str(folder), optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-3))
        self.spy = Spy()

    def fit(self) -> None:
        """Runs it.

        Raises:
            RefusedError: If lspo says that it does not train this model.
        """
        try:
            self.policy.check()
            data = RolloutDataModule(
                Questions(), reward=FunctionReward(coin), selector=KeepAll(), group_size=GROUP_SIZE,
                train_groups=len(CUTS), minibatch_groups=len(CUTS), sampling=SAMPLING,
            )  # fmt: skip
            with tempfile.TemporaryDirectory(prefix="architectures-") as root:
                Trainer(
                    max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
                    enable_progress_bar=False, enable_model_summary=False, callbacks=[self.spy], default_root_dir=root,
                ).fit(self.policy, data)  # fmt: skip
        except Exception as error:
            if not self.spy.gradients:
                refuse_if_meant(error)
            raise

    def loaded(self) -> PolicyModule:
        """The policy, also where the run has not come to load it."""
        self.policy.configure_model()
        return self.policy


class Spy(Callback):
    """Keeps the batch and its gradient, by name of the parameter."""

    def __init__(self) -> None:
        self.batch: RolloutBatch | None = None
        self.gradients: dict[str, Tensor | None] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batch = batch

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.gradients = {
            name: None if parameter.grad is None else parameter.grad.clone()
            for name, parameter in pl_module.model.named_parameters()
        }


# --- the checks


def gap(subject: Subject) -> Check:
    """Engine against trainer: prompts of unlike lengths in one batch, and a batch of one."""
    subject.written = subject.write(subject.prompts, GROUP_SIZE)
    batched = difference(subject.model, subject.written)
    alone = [difference(subject.model, subject.write([prompt], 1)) for prompt in subject.prompts[:2]]
    figures = {"max": float(batched.max()), "mean": float(batched.mean()), "alone": float(torch.cat(alone).max())}
    worst = max(figures["max"], figures["alone"]) if not any(map(math.isnan, figures.values())) else math.nan
    figures["tokens"] = batched.numel()
    told = "" if worst < NATS else f"max {figures['max']:.1e}, mean {figures['mean']:.1e}, alone {figures['alone']:.1e}"
    return Check(worst < NATS, told, figures)


def rows(subject: Subject) -> Check:
    """One row alone, two short rows, and all rows; each against transformers' logits of the row without padding."""
    items = sorted(subject.rollouts, key=lambda item: item.num_tokens)
    true = torch.cat([own_logprobs(subject.reference, item) for item in items])
    largest = {"all": 0.0, "two": 0.0, "alone": 0.0}
    width = len(own_logprobs(subject.reference, items[0]))
    two = width + items[1].rollout.num_tokens
    largest["all"] = float((logprobs_of(subject.model, items) - true).abs().max())
    largest["two"] = float((logprobs_of(subject.model, items[:2]) - true[:two]).abs().max())
    largest["alone"] = max(
        float((logprobs_of(subject.model, items[:1]) - true[:width]).abs().max()),
        float((logprobs_of(subject.model, items[-1:]) - true[-items[-1].rollout.num_tokens :]).abs().max()),
    )
    worst = max(largest.values()) if not any(map(math.isnan, largest.values())) else math.nan
    told = "" if worst < NATS else ", ".join(f"{name} {value:.1e}" for name, value in largest.items())
    return Check(worst < NATS, told and f"off by ({told})", largest)


def load(subject: Subject) -> Check:
    with torch.no_grad():
        subject.model.eval()
        own, theirs = (model(input_ids=subject.text).logits for model in (subject.model, subject.reference))
        subject.model.train()
    return same_logits(own, theirs)


def modes(subject: Subject) -> Check:
    with torch.no_grad():
        training = subject.model.train()(input_ids=subject.text).logits
        evaluation = subject.model.eval()(input_ids=subject.text).logits
        subject.model.train()
    return same_logits(training, evaluation)


def gradient(run: Run, subject: Subject) -> Check:
    """The gradient of one iteration against that of the same sum through transformers' own logits, row by row.

    Where the run breaks, the trainer's part is looked at by itself.
    """
    try:
        run.fit()
    except RefusedError:
        raise
    except Exception as error:
        check = trainer_gradient(subject)
        told = f"{short(error)}, and the trainer's is {'equal' if check.ok else check.told}"
        return Check(False, told, check.figures)
    if run.spy.batch is None or not run.spy.gradients:
        return Check(False, "no optimizer step")
    return compare_gradients(run.spy.gradients, true_gradients(subject.reference, run.spy.batch))


def trainer_gradient(subject: Subject) -> Check:
    """The same without a run, from the log-probs of `model_logprobs`."""
    items = subject.rollouts
    tokens = sum(item.num_counted for item in items)
    batch = collate(items, pad_token_id=0, num_tokens=tokens, num_sequences=len(items), temperature=1.0)
    subject.model.zero_grad(set_to_none=True)
    logprobs, _ = model_logprobs(subject.model, batch.token_ids, batch.prompt_lengths, batch.response_mask)
    (-(logprobs * batch.advantages[:, None]).sum() / tokens).backward()
    ours = {name: parameter.grad for name, parameter in subject.model.named_parameters()}
    return compare_gradients(ours, true_gradients(subject.reference, batch))


def true_gradients(reference: Any, batch: RolloutBatch) -> dict[str, Tensor | None]:
    """Of the policy gradient at ratio 1, each row by itself through transformers' own forward."""
    reference.zero_grad(set_to_none=True)
    loss = torch.zeros(())
    for row in range(len(batch)):
        start, size = int(batch.prompt_lengths[row]), int(batch.response_mask[row].sum())
        ids = batch.token_ids[row : row + 1, : start + size]
        chosen = torch.log_softmax(reference(input_ids=ids).logits[0, start - 1 : -1].float(), dim=-1)
        loss = loss - batch.advantages[row] * chosen.gather(-1, ids[0, start:, None]).sum() / batch.num_tokens
    loss.backward()
    return {name: parameter.grad for name, parameter in reference.named_parameters()}


def compare_gradients(ours: dict[str, Tensor | None], theirs: dict[str, Tensor | None]) -> Check:
    def dead(value: Tensor | None) -> bool:
        return value is None or not bool(value.any())

    lost = [name for name, value in ours.items() if dead(value) and not dead(theirs.get(name))]
    unused = [name for name, value in ours.items() if dead(value) and dead(theirs.get(name))]
    broken = [name for name, value in ours.items() if value is not None and not bool(value.isfinite().all())]
    squared, total = 0.0, 0.0
    for name, value in theirs.items():
        there = torch.zeros(()) if value is None else value
        here = ours.get(name)
        squared += float(((torch.zeros(()) if here is None else here) - there).double().square().sum())
        total += float(there.double().square().sum())
    error = math.sqrt(squared / total) if total else math.nan
    figures = {"error": error, "lost": lost, "unused": unused, "not_finite": broken, "parameters": len(ours)}
    told = [f"none for {some(lost)}"] * bool(lost) + [f"not finite in {some(broken)}"] * bool(broken)
    told += [f"off by {error:.1e} of its norm"] * (not error < GRADIENT)
    told += [f"{len(unused)} of {len(ours)} parameters have none in transformers either"] * bool(unused)
    return Check(not lost and not broken and error < GRADIENT, ", ".join(told), figures)


def names(run: Run, subject: Subject) -> Check:
    """The policy's weights by name and shape against the file; one that only repeats another is named, and is fine."""
    policy = run.loaded()
    ours = {name: tensor.detach().clone() for name, tensor in policy.full_weights()}
    local = {name: tuple(tensor.shape) for name, tensor in subject.policy.full_weights()}
    file = shapes_in(run.folder)
    missing = sorted(file.keys() - ours.keys())
    extra = sorted(ours.keys() - file.keys())
    repeated = [name for name in extra if any(same(ours[name], ours[other]) for other in file.keys() & ours.keys())]
    unknown = [name for name in extra if name not in repeated]
    shapes = sorted(name for name in file.keys() & ours.keys() if file[name] != tuple(ours[name].shape))
    # Of a checkpoint that can do more, the policy may be a part.
    part = run.images and bool(missing) and not unknown
    told = [f"the file has {len(missing)} more" if part else f"in the file alone {some(missing)}"] * bool(missing)
    told += [f"not in the file {some(unknown)}"] * bool(unknown)
    told += [f"other shape {some(shapes)}"] * bool(shapes)
    unlike = local != {name: tuple(tensor.shape) for name, tensor in ours.items()}
    told += ["LocalPolicy has others than PolicyModule"] * unlike
    figures = {"missing": missing, "unknown": unknown, "repeated": repeated, "shapes": shapes}
    return Check((part or not missing) and not unknown and not shapes and not unlike, ", ".join(told), figures)


def export(run: Run, folder: Path) -> Check:
    from transformers import AutoModelForCausalLM

    policy = run.loaded()
    policy.save_pretrained(folder)
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([run.policy.tokenizer(tiny_models.TEXTS[0])["input_ids"]])
    with torch.no_grad():
        ours, theirs = (model.eval()(input_ids=ids).logits for model in (policy.model, again))
    check = same_logits(ours, theirs)
    if not check.ok and same_logits(ours[..., 1:], theirs[..., 1:]).ok:
        check.ok, check.told = True, "transformers sets the padding token's weights to 0 when it loads them"
    before, after = shapes_in(run.folder), shapes_in(folder)
    check.figures["names"] = sorted(before.keys() ^ after.keys())
    if check.figures["names"]:
        told = f"{len(check.figures['names'])} names differ from the first file's, as {check.figures['names'][0]}"
        check.ok, check.told = check.ok and run.images, ", ".join([check.told] * bool(check.told) + [told])
    return check


# --- parts of them


def logprobs_of(model: Any, items: list[TrainingRollout]) -> Tensor:
    """The trainer's log-probs of all response tokens, one after another."""
    tokens = sum(item.num_counted for item in items)
    batch = collate(items, pad_token_id=0, num_tokens=tokens, num_sequences=len(items), temperature=1.0)
    with torch.no_grad():
        logprobs, _ = model_logprobs(model, batch.token_ids, batch.prompt_lengths, batch.response_mask)
    return logprobs[batch.response_mask]


def own_logprobs(reference: Any, item: TrainingRollout) -> Tensor:
    """The same of one row by transformers' own forward, without padding."""
    ids = torch.tensor([item.token_ids.tolist()])
    with torch.no_grad():
        logits = reference(input_ids=ids).logits[0, len(item.prompt_ids) - 1 : -1].float()
    return torch.log_softmax(logits, dim=-1).gather(-1, ids[0, len(item.prompt_ids) :, None]).squeeze(-1)


def difference(model: Any, groups: list[RolloutGroup]) -> Tensor:
    """|engine - trainer| of each response token, in nats."""
    items = training_rollouts(groups)
    engine = torch.tensor([value for item in items for value in item.rollout.logprobs])
    return (engine - logprobs_of(model, items)).abs()


def same_logits(one: Tensor, other: Tensor) -> Check:
    apart = float((one - other).abs().max()) / max(float(other.abs().max()), 1e-9)
    return Check(apart < LOGITS, "" if apart < LOGITS else f"logits off by {apart:.1e} of the largest", {"max": apart})


def same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(one, other))


def shapes_in(folder: Path) -> dict[str, tuple[int, ...]]:
    """Of all weights in a folder's files."""
    from safetensors import safe_open

    shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            shapes.update({name: tuple(file.get_slice(name).get_shape()) for name in file.keys()})  # noqa: SIM118
    return shapes


def some(names: list[str]) -> str:
    return "".join(names) if len(names) < 2 else f"{names[0]} and {len(names) - 1} more"


# --- errors


def refuse_if_meant(error: Exception) -> None:
    """Raises `RefusedError` if an error is lspo's own, in words."""
    frames = list(traceback.walk_tb(error.__traceback__))
    own = bool(frames) and frames[-1][0].f_globals.get("__name__", "").startswith("lspo.")
    # An error of torch's has no frame of its own.
    own = own and linecache.getline(frames[-1][0].f_code.co_filename, frames[-1][1]).strip().startswith("raise ")
    if own and isinstance(error, ValueError | RuntimeError | TypeError) and 20 < len(str(error)) < 900:
        raise RefusedError(" ".join(str(error).split())) from error


def short(error: Exception, limit: int = 150) -> str:
    """An error in one line, with where it was raised."""
    text = " ".join(str(error).split())
    text = text if len(text) <= limit else f"{text[: limit - 3]}..."
    frames = list(traceback.extract_tb(error.__traceback__))
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{where}"


@contextmanager
def quiet() -> Iterator[None]:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# --- the table


ENCODERS, MORE_THAN_TEXT, DECODERS = "encoders", "more than text", "decoders"


def refused_as(result: Result) -> str:
    """Which of the three kinds a refused type is of."""
    if result.kind.startswith(("encoder", "not causal")) or " encoder" in result.reason:
        return ENCODERS
    if "multimodal" in result.kind or "reads images or sound" in result.reason or tiny_models.has_images(result.name):
        return MORE_THAN_TEXT
    return DECODERS


def table(results: list[Result]) -> str:
    import transformers

    listed = sorted(results, key=lambda result: result.name)
    types = [result for result in listed if ":" not in result.name]
    count = {status: sum(result.status == status for result in types) for status in (TRAINS, REFUSED, FAULT, NOT_MADE)}
    refused = {
        kind: [result for result in types if result.status == REFUSED and refused_as(result) == kind]
        for kind in (ENCODERS, MORE_THAN_TEXT, DECODERS)
    }
    lines = [
        "# Models",
        "",
        f"Of the {len(types)} types in the list of causal language models of transformers {transformers.__version__}:",
        "",
        f"- {count[TRAINS]} train on what they wrote.",
        f"- {len(refused[ENCODERS])} are refused because they are encoders, or have one.",
        f"- {len(refused[MORE_THAN_TEXT])} are refused because they read more than text. The text part of most of them "
        "is a type of its own, which trains.",
        f"- {len(refused[DECODERS])} decoders of text are refused: "
        + ", ".join(f"`{result.name}`" for result in refused[DECODERS])
        + ".",
        f"- {count[NOT_MADE]} could not be made here.",
        f"- {count[FAULT]} are at fault.",
        "",
        "A refused model ends in one message, before anything is generated. A model that is not in this list is tried "
        "too: before the first responses of a run, `TransformersEngine` writes a few and compares their log-probs with "
        "the trainer's.",
        "",
        "The table comes from `python benchmarks/architectures.py --write docs/models.md`: tiny random models in "
        "float32 on a CPU, with the checks that its first lines list. The gap is the largest difference in nats "
        "between the log-probs of engine and trainer. A name with a colon is a variant of a type.",
        "",
        "| type | kind | status | gap | notes |",
        "|---|---|---|---|---|",
    ]
    for result in listed:
        gap = "" if result.gap is None or result.status == REFUSED else f"{result.gap:.0e}"
        notes = result.notes.partition(", which ")[2] if ", which " in result.reason else result.notes
        lines.append(f"| {result.name} | {result.kind} | {result.status} | {gap} | {cell(notes)} |")
    return "\n".join(lines) + "\n"


def cell(text: str, limit: int = 300) -> str:
    text = " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these types or variants; otherwise all")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the table goes here; otherwise it is printed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for name in arguments.only or [*tiny_models.model_types(), *tiny_models.VARIANTS]:
        result = examine(name)
        results.append(result)
        if arguments.json:
            arguments.json.write_text(json.dumps([asdict(one) for one in results], indent=1), encoding="utf-8")
        if arguments.write or arguments.json:
            print(f"{result.status:<9} {result.name}  {result.notes[:160]}", flush=True)
    text = table(results)
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
