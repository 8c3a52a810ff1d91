"""What a reward is, and the one way in which groups are scored."""

from __future__ import annotations

import inspect
import math
from abc import ABC
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, cast

from lspo.errors import RunError, SettingError
from lspo.rewards.async_calls import run_concurrently
from lspo.types import Prompt, Rollout, RolloutGroup, Score

EXCERPT_CHARACTERS = 200

Verdict = Score | float | bool


@dataclass(frozen=True)
class Response:
    """What a reward may look at: a response's text and token count, and the prompt with its ground truth.

    Responses of one group have one `draw_index`. Another group of the same prompt, drawn again, has another.
    `token_ids` are those that were sampled, the end token included.
    """

    text: str
    prompt: Prompt
    num_tokens: int
    truncated: bool
    draw_index: int | None = None
    token_ids: tuple[int, ...] = ()


class Reward(ABC):  # noqa: B024 (either of two methods is overridden)
    """Turns responses into verdicts. Override `score`, or `score_batch` where many are checked together.

    `score` may be an `async def`, as where another server judges: a batch is then scored concurrently.

    A verdict has two numbers: `accuracy`, strict correctness, read by filters and evaluation; and `reward`, which may
    be shaped (format, length) and is what the objective sees. Model text is untrusted: answer wrongly formed text with
    a verdict, not with an exception.
    """

    max_concurrent: ClassVar[int] = 64
    """Responses scored at a time by an `async def score`."""

    any_thread: bool | None = None
    """Set to True, lets the engine write further groups while this class scores, on another thread than the main one.

    One thread at a time calls it, a new one in each round. There, `signal.alarm` and what uses it (math-verify's own
    time limit, say) fails; what belongs to the thread that made it (an `sqlite3` connection) can't be used; torch has
    its defaults: gradients on, no autocast, the first GPU; and global random numbers come in no fixed order, so that a
    resumed run would have others. Hence False, unless `score` is an `async def`, which has a thread of its own anyway.

    It holds for the class that says it. A subclass, which may do what can't be done there, says it again.
    """

    def score(self, response: str, answer: str) -> Verdict | Awaitable[Verdict]:
        """Verdict on one response against its ground truth; a bare number is both accuracy and reward."""
        raise NotImplementedError(f"{type(self).__name__} must override `score` or `score_batch`.")

    def score_batch(self, responses: Sequence[Response]) -> Iterable[Verdict]:
        """Verdicts on many responses, in their order; may be a generator."""
        if inspect.iscoroutinefunction(self.score):
            score = cast(Callable[[str, str], Awaitable[Verdict]], self.score)
            calls = [partial(score, response.text, response.prompt.answer) for response in responses]
            return cast(list[Verdict], run_concurrently(calls, self.max_concurrent))
        return [cast(Verdict, self.score(response.text, response.prompt.answer)) for response in responses]

    def may_leave_main_thread(self) -> bool:
        """Whether a round may score on a thread of its own; see `any_thread`."""
        kind = type(self)
        said: bool | None = vars(kind).get("any_thread")
        if said is None:
            return kind.score_batch is Reward.score_batch and inspect.iscoroutinefunction(self.score)
        return said

    def check(self, prompt: Prompt) -> None:  # noqa: B027 (most rewards score any prompt)
        """Refuses a prompt that could not be scored. Called for every prompt before anything is generated.

        Raises:
            ValueError: If its ground truth can't be read, or it lacks what the reward needs.
        """

    def check_calls(self) -> None:
        """Refuses, once per run, a class that scores nothing, or whose methods can't be called as they will be.

        Raises:
            ValueError: If so; the message shows the signature that is expected.
        """
        kind = type(self)
        if kind.score is Reward.score and kind.score_batch is Reward.score_batch:
            raise SettingError(
                f"Expected reward {kind.__name__} to override `score` or `score_batch`, but it has neither."
            )
        name, example = (
            ("score_batch", ["responses"])
            if kind.score_batch is not Reward.score_batch
            else ("score", ["response", "answer"])
        )
        signature = inspect.signature(getattr(self, name))
        try:
            signature.bind(*example)
        except TypeError as error:
            raise SettingError(
                f"Expected `{name}` of reward {kind.__name__} to be `def {name}(self, {', '.join(example)})`, but it "
                f"takes {signature} besides `self`. Other columns of the data set are parameters of a function: "
                "--data.reward=FunctionReward --data.reward.function=my_module.my_function."
            ) from error

    def response_limits(self) -> dict[str, int]:
        """Response lengths, in tokens, that it was made for, by name; the run warns if it samples up to others."""
        return {}

    def reads(self, text: str) -> bool:
        """Whether verdicts depend on this text in responses, as on a tag. Override where that can be known.

        If it is the text of a special token, that token must not be left out of what the reward sees.
        """
        return False

    def metrics(self) -> dict[str, float]:
        """Counters since the last call (time-outs, say), under slash names. Reading them resets them."""
        return {}

    def close(self) -> None:  # noqa: B027 (most rewards start nothing)
        """Ends what the reward has started, worker processes for instance."""


class VerdictError(SettingError):
    """What a reward returned can't be used; the message names the reward."""


def verdicts_of(reward: Reward, responses: Sequence[Response], name: str = "") -> list[Any]:
    """What the reward says of the responses, one verdict per response.

    Args:
        reward: Whose verdicts; its `score_batch` may return them in any iterable.
        responses: What it judges.
        name: What messages call it; unless given, its class.

    Raises:
        VerdictError: If it returned something else, or another number of them.
    """
    name = name or f"reward {type(reward).__name__}"
    returned: Any = reward.score_batch(responses)
    if inspect.iscoroutine(returned):
        returned.close()
        raise VerdictError(
            f"Expected `score_batch` of {name} to return verdicts, but it is an `async def`. Override `score` with an "
            "`async def` instead: a batch is then scored concurrently."
        )
    if not isinstance(returned, Iterable):
        raise VerdictError(
            f"Expected `score_batch` of {name} to return a list with one verdict per response, but got {returned!r}."
        )
    verdicts = list(returned)
    if len(verdicts) != len(responses):
        raise VerdictError(
            f"Expected {name} to return one verdict per response, so {len(responses)}, but got {len(verdicts)}. "
            "Return a verdict for each response, in their order; one that can't be judged has accuracy 0."
        )
    return verdicts


def checked(label: str, verdict: Any, response: Response, *, strict: bool) -> Score:
    """A verdict as a score whose reward is finite.

    Args:
        label: What messages call the reward.
        verdict: What it returned for the response.
        response: What it judged.
        strict: Whether accuracy must be 0 or 1.

    Raises:
        VerdictError: If the verdict is no such score.
    """
    try:
        score = Score.of(verdict)
    except (TypeError, ValueError) as error:
        raise VerdictError(
            f"Expected {label} to return a Score or a number, but got {verdict!r} for {describe(response)}."
        ) from error
    if strict and score.accuracy not in (0, 1):
        raise VerdictError(
            f"Expected accuracy 0 or 1 from {label}, but got {score.accuracy} for {describe(response)}. "
            "Return Score(accuracy=..., reward=...) for a shaped reward."
        )
    if not math.isfinite(score.reward):
        raise VerdictError(
            f"Expected a finite reward from {label.removeprefix('reward ')}, but got {score.reward} "
            f"for {describe(response)}. "
            "Return a number, such as 0, where it can't judge a response."
        )
    return score


def describe(response: Response) -> str:
    """The prompt of a response, and how it begins, for messages."""
    return f"prompt {response.prompt.id}, response {response.text[:EXCERPT_CHARACTERS]!r}"


def score_groups(reward: Reward, groups: Sequence[RolloutGroup]) -> list[RolloutGroup]:
    """The same groups with a checked score in each rollout.

    Raises:
        RuntimeError: If the reward raises, returns the wrong count, a number that is not finite, or an accuracy other
            than 0 or 1; the message names the reward, the prompt and what was returned.
    """
    responses = [
        Response(
            rollout.text,
            group.prompt,
            rollout.num_tokens,
            rollout.truncated,
            group.draw_index,
            tuple(rollout.token_ids.tolist()),
        )
        for group in groups
        for rollout in group.rollouts
    ]
    name = type(reward).__name__
    try:
        verdicts = verdicts_of(reward, responses)
    except VerdictError as error:
        raise RunError(str(error)) from None  # the message says all, and the traceback would be of this file
    except (Exception, SystemExit) as error:  # `sys.exit()` within a reward would end the run without a message
        raise RunError(
            f"Reward {name} raised {type(error).__name__}: {error}\n"
            f"It was scoring {len(responses)} responses, the first of them to prompt {_describe(responses)}. "
            "Model text is untrusted: let the reward answer malformed text with accuracy 0."
        ) from error
    try:
        checked_scores = [
            checked(f"reward {name}", verdict, response, strict=True)
            for verdict, response in zip(verdicts, responses, strict=True)
        ]
    except VerdictError as error:
        raise RunError(str(error)) from error.__cause__
    scores = iter(checked_scores)
    return [replace(group, rollouts=tuple(_scored(group, scores))) for group in groups]


def _scored(group: RolloutGroup, scores: Iterator[Score]) -> Iterator[Rollout]:
    for rollout in group.rollouts:
        yield replace(rollout, score=next(scores))


def _describe(responses: Sequence[Response]) -> str:
    if not responses:
        return "(none)"
    return f"{responses[0].prompt.id}: {responses[0].text[:EXCERPT_CHARACTERS]!r}"
