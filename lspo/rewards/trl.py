"""Reward functions as they are written for TRL."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from lspo.errors import SettingError
from lspo.rewards.async_calls import TimedOut
from lspo.rewards.base import Response, Reward, VerdictError, describe
from lspo.rewards.function import imported, name_of
from lspo.rewards.limited_calls import LimitedCalls
from lspo.rewards.weighted import check_weights
from lspo.types import Prompt, Score

GIVEN = ("prompts", "completions", "completion_ids", "trainer_state")
NO_COLUMNS = ("prompt", "completion", *GIVEN)
"""Columns of a data set that functions do not get by these names."""

Values = list[float | None]
SeveralFunctions = list[str | Callable[..., Any]]


class TRLReward(Reward):
    """The weighted sum of reward functions of TRL: sum_f weight_f * value_f, over the functions that apply.

        def f(completions, **kwargs) -> list[float | None]: ...

    A function is called once for a batch of responses, with lists of one item per response, by name: `completions`,
    `prompts`, `completion_ids`, and each column of the data set. Without `**kwargs` it gets those that it names.
    Where `TRLProblems` reads a chat, prompts are lists of messages and a completion is
    `[{"role": "assistant", "content": ...}]`; they are text otherwise. (Another set shows its chats so if `extra` names
    the column, and that is called `prompt`.) `answer` is the ground truth if no column has
    that name. An `async def` is awaited.

    None says that a function does not apply to a response: it is left out of the sum. Responses that no function
    applies to have reward 0, and are counted in `trl/not_applicable`. Each function's mean is logged as
    `reward/<name>`, before its weight.

    A batch that takes longer than `time_limit_seconds` is tried again, one response at a time. A response that takes
    longer alone is counted in `trl/timeouts`, and the function does not apply to it.

    `trainer_state` is there, but empty: a reward does not know the Trainer.

    Args:
        functions: One or more functions, or where to import them from, as `my_module.my_fn`.
        weights: One per function; None: 1 each.
        correct: What decides strict accuracy, which filters and evaluation read. The name of a function: a response is
            correct where its value is 1, and wrong where it is 0 or None. Or a number: correct where the sum is at
            least that. None: the only function.
        concurrency: Responses of an `async def` that are tried again at a time.
        time_limit_seconds: For one call; None: no limit.
        any_thread: Whether a run may call them on another thread than the main one, while the engine writes on; see
            `Reward.any_thread`. None: if each is an `async def`.

    Raises:
        ValueError: If a function can't be found or can't be called like that, or a setting is out of its range.
    """

    def __init__(
        self,
        functions: str | Callable[..., Any] | SeveralFunctions,
        weights: list[float] | None = None,
        correct: float | str | None = None,
        concurrency: int = 64,
        time_limit_seconds: float | None = 300.0,
        any_thread: bool | None = None,
    ) -> None:
        given: SeveralFunctions = list(functions) if isinstance(functions, list | tuple) else [functions]
        if not given:
            raise SettingError("Expected at least one function in `functions`, but got none.")
        self._parts: dict[str, _Function] = {}
        for one in given:
            part = _Function(one, concurrency=concurrency, time_limit_seconds=time_limit_seconds)
            self._parts[_unused(part.short_name, self._parts)] = part
        self.functions, self.concurrency, self.time_limit_seconds = functions, concurrency, time_limit_seconds
        self.weights = _weights(weights, list(self._parts))
        self.correct = _correct(correct, list(self._parts))
        self._may_leave = all(one.calls.awaits for one in self._parts.values()) if any_thread is None else any_thread
        self._not_applicable = 0.0

    def may_leave_main_thread(self) -> bool:
        return type(self) is TRLReward and self._may_leave

    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        if not responses:
            return []
        values = {name: part.values(responses) for name, part in self._parts.items()}
        scores = []
        for place, response in enumerate(responses):
            here = {name: found for name in values if (found := values[name][place]) is not None}
            self._not_applicable += not here
            scores.append(self._score(here, response))
        return scores

    def _score(self, values: Mapping[str, float], response: Response) -> Score:
        total = sum((self.weights[name] * value for name, value in values.items()), 0.0)
        if not isinstance(self.correct, str):
            return Score(float(bool(values) and total >= self.correct), total, values)
        verdict = values.get(self.correct, 0.0)
        if verdict not in (0, 1):
            raise VerdictError(
                f"Expected reward function {self.correct!r}, which decides accuracy, to return 0 or 1, but got "
                f"{verdict} for {describe(response)}. Name another function with `correct`, or give a number: the sum "
                "from which on a response is correct."
            )
        return Score(verdict, total, values)

    def check(self, prompt: Prompt) -> None:
        for part in self._parts.values():
            part.check(prompt)

    def metrics(self) -> dict[str, float]:
        counted = {"trl/not_applicable": self._not_applicable}
        if any(part.calls.may_time_out for part in self._parts.values()):
            counted["trl/timeouts"] = sum(part.timeouts for part in self._parts.values())
        self._not_applicable = 0.0
        for part in self._parts.values():
            part.timeouts = 0.0
        return counted


class _Function:
    """One function, and how a batch becomes its arguments.

    Args:
        function: The function, or where to import it from.
        concurrency: Calls of an `async def` at a time.
        time_limit_seconds: For one call; None: no limit.
    """

    def __init__(
        self, function: str | Callable[..., Any], *, concurrency: int, time_limit_seconds: float | None
    ) -> None:
        self.function = imported(function) if isinstance(function, str) else function
        if not callable(self.function):
            raise SettingError(f"Expected functions in `functions`, but got {type(function).__name__}: {function!r}.")
        self.name = function if isinstance(function, str) else name_of(function)
        self.short_name = self.name.rpartition(".")[2]
        self.calls = LimitedCalls(
            self.function,
            self.name,
            concurrency=concurrency,
            time_limit_seconds=time_limit_seconds,
            blocked="The batch is tried again, one response at a time",
        )
        self.timeouts = 0.0
        parameters = inspect.signature(self.function).parameters.values()
        self._takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
        named = [one for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
        self._named = {one.name: one.default is one.empty for one in named}
        by_place = any(one.kind is one.POSITIONAL_ONLY for one in named)
        if by_place or not (self._takes_all or self._named.keys() & {"completions", "completion_ids"}):
            raise SettingError(
                f"Expected reward function {self.name} to take `completions`, as in "
                f"`def {self.short_name}(completions, **kwargs)`, but it takes {inspect.signature(self.function)}. A "
                "function of one response and its answer is for `FunctionReward`."
            )

    def values(self, responses: Sequence[Response]) -> Values:
        """Its value for each response; None where it does not apply."""
        (found,) = self.calls.run([partial(self._call, responses)])
        if not isinstance(found, TimedOut):
            return found
        self.calls.warn_once(
            f"Reward function {self.name} took more than {self.calls.time_limit_seconds:g} s for {len(responses)} "
            "responses. It is called again for each response alone. If it is slow but not stuck, raise "
            "`time_limit_seconds`."
        )
        alone = self.calls.run([partial(self._call, [response]) for response in responses])
        self.timeouts += sum(isinstance(one, TimedOut) for one in alone)
        return [None if isinstance(one, TimedOut) else one[0] for one in alone]

    def _call(self, responses: Sequence[Response]) -> Values | Awaitable[Values]:
        arguments = self._arguments(responses)
        if self.calls.awaits:
            return self._awaited(responses, arguments)
        try:
            returned = self.function(**arguments)
        except (Exception, SystemExit) as error:
            raise self._error(error, responses) from error
        return self._checked(returned, responses)

    async def _awaited(self, responses: Sequence[Response], arguments: Mapping[str, Any]) -> Values:
        try:
            returned = await self.function(**arguments)
        except (Exception, SystemExit) as error:
            raise self._error(error, responses) from error
        return self._checked(returned, responses)

    def _error(self, error: BaseException, responses: Sequence[Response]) -> RuntimeError:
        return RuntimeError(
            f"Reward function {self.name} raised {type(error).__name__}: {error}\n"
            f"It was scoring {len(responses)} responses, the first of them {describe(responses[0])}."
        )

    def _arguments(self, responses: Sequence[Response]) -> dict[str, Any]:
        rows = [_row(response) for response in responses]
        names = dict.fromkeys(name for row in rows for name in row if self._takes(name))
        columns = {name: [row.get(name) for row in rows] for name in names}
        if "completion_ids" in columns:
            columns["completion_ids"] = [list(response.token_ids) for response in responses]
        return {**columns, "trainer_state": _NoTrainerState()} if self._takes("trainer_state") else columns

    def _takes(self, name: str) -> bool:
        return self._takes_all or name in self._named

    def _checked(self, returned: Any, responses: Sequence[Response]) -> Values:
        if inspect.iscoroutine(returned):
            returned.close()
            raise VerdictError(
                f"Expected reward function {self.name} to return a list, but it returned a coroutine. Write it as an "
                "`async def`."
            )
        if hasattr(returned, "tolist"):  # an array or tensor
            returned = returned.tolist()
        if not isinstance(returned, Sequence) or isinstance(returned, str | bytes):
            raise VerdictError(
                f"Expected reward function {self.name} to return a list with one number or None per response, but got "
                f"{returned!r}. A function of one response and its answer is for `FunctionReward`."
            )
        if len(returned) != len(responses):
            raise VerdictError(
                f"Expected reward function {self.name} to return one number or None per response, so {len(responses)}, "
                f"but got {len(returned)}."
            )
        return [self._number(one, response) for one, response in zip(returned, responses, strict=True)]

    def _number(self, value: Any, response: Response) -> float | None:
        if value is None:
            return None
        number = math.nan
        if not isinstance(value, str | bytes):
            with suppress(TypeError, ValueError):
                number = float(value)
        if not math.isfinite(number):
            raise VerdictError(
                f"Expected reward function {self.name} to return finite numbers, and None where it does not apply, but "
                f"got {value!r} for {describe(response)}."
            )
        return number

    def check(self, prompt: Prompt) -> None:
        """Refuses a prompt without a column that the function must have."""
        known = {*_row(Response("", prompt, 0, truncated=False)), "trainer_state"}
        missing = [name for name, needed in self._named.items() if needed and name not in known]
        if missing:
            columns = [name for name in prompt.extra if name not in NO_COLUMNS]
            raise SettingError(
                f"Expected a column {missing[0]!r} for reward function {self.name}, but the row of prompt {prompt.id} "
                f"has {', '.join(map(str, columns)) or 'none besides problem and answer'}. `TRLProblems` passes on all "
                "columns, `DatasetProblems` those in `extra`; the ground truth is `answer`."
            )


def _row(response: Response) -> dict[str, Any]:
    """What a function may ask of one response, by the names of the lists."""
    columns = {name: value for name, value in response.prompt.extra.items() if name not in NO_COLUMNS}
    prompt = response.prompt.extra.get("prompt")
    chat = [dict(message) for message in prompt] if isinstance(prompt, list | tuple) else []
    return {
        "answer": response.prompt.answer,
        **columns,
        "prompts": chat or response.prompt.text,
        "completions": [{"role": "assistant", "content": response.text}] if chat else response.text,
        "completion_ids": response.token_ids,
    }


class _NoTrainerState:
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"`trainer_state.{name}` is not known here: a reward does not see the Trainer. To change a reward over the "
            "iterations, write a `RolloutCallback` that sets an attribute of it in `on_collect_start`."
        )


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """The name, with a number behind it where functions have the same one."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _weights(given: Sequence[float] | None, names: Sequence[str]) -> dict[str, float]:
    weights = [1.0] * len(names) if given is None else list(given)
    if len(weights) != len(names):
        raise SettingError(
            f"Expected one weight per function, so {len(names)} for {', '.join(names)}, but got {len(weights)}."
        )
    named = dict(zip(names, weights, strict=True))
    check_weights(named)
    return named


def _correct(given: float | str | None, names: Sequence[str]) -> float | str:
    if given is None and len(names) == 1:
        return names[0]
    if given is None or (isinstance(given, str) and given not in names):
        raise SettingError(
            "Expected `correct` to say what decides accuracy: one of the functions "
            f"{', '.join(names)}, or the sum from which on a response is correct, but got {given!r}."
        )
    if not isinstance(given, str) and not math.isfinite(given):
        raise SettingError(f"Expected `correct` to be finite, but got {given}.")
    return given
