"""A function as a reward."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

from lspo.errors import SettingError
from lspo.rewards.async_calls import TimedOut
from lspo.rewards.base import EXCERPT_CHARACTERS, Response, Reward
from lspo.rewards.limited_calls import LimitedCalls
from lspo.types import Prompt, Score


class FunctionReward(Reward):
    """What a function says of `(response, answer)`: 0 or 1, a bool, or a `Score`.

        def my_fn(response: str, answer: str, prompt: str, difficulty: float) -> bool: ...

    The first two are the response's text and the ground truth. Further parameters are filled by name: `prompt` with
    the prompt's text, `num_tokens` and `truncated` with those of the response, any other with the data set's column of
    that name; `**columns` takes all columns. A parameter with a default is filled only if there is such a column.

    An `async def` is awaited, many responses at a time. A plain `def` is called for one response after another.

    A call that takes longer than `time_limit_seconds` is counted in `function/timeouts` and its response is wrong:

    - An `async def` that awaits is cancelled.
    - An `async def` that blocks, as `time.sleep` does, is left behind in its thread. Other calls that were running are
      run again, and a warning names the function. The third such call of a batch is an error.
    - A plain `def` is interrupted on the main thread. On other threads it can't be: a warning names the function, and
      its verdict counts when it comes.

    Args:
        function: The function, or where to import it from, as `my_module.my_fn`.
        concurrency: Calls of an `async def` at a time.
        time_limit_seconds: For one call; None: no limit.
        any_thread: Whether a run may call it on another thread than the main one, while the engine writes on; see
            `Reward.any_thread`. None: an `async def` alone.
    """

    def __init__(
        self,
        function: str | Callable[..., Any],
        concurrency: int = 64,
        time_limit_seconds: float | None = 60.0,
        any_thread: bool | None = None,
    ) -> None:
        self.function = imported(function) if isinstance(function, str) else function
        if not callable(self.function):
            raise SettingError(f"Expected `function` to be one, but got {type(function).__name__}: {function!r}.")
        self.name = function if isinstance(function, str) else name_of(function)
        self.concurrency, self.time_limit_seconds = concurrency, time_limit_seconds
        self._calls = LimitedCalls(
            self.function, self.name, concurrency=concurrency, time_limit_seconds=time_limit_seconds
        )
        self._may_leave = self._calls.awaits if any_thread is None else any_thread
        self._extra_parameters = _extra_parameters(self.function, self.name)
        self._timeouts = 0.0

    def may_leave_main_thread(self) -> bool:
        return type(self) is FunctionReward and self._may_leave

    def score(self, response: str, answer: str) -> Score:
        return self.score_batch([Response(response, Prompt("", "", (), answer), 0, truncated=False)])[0]

    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        call = self._await if self._calls.awaits else self._call
        results = self._calls.run([partial(call, response, self._columns(response)) for response in responses])
        self._timeouts += sum(isinstance(result, TimedOut) for result in results)
        return [Score(0.0, 0.0) if isinstance(result, TimedOut) else result for result in results]

    def _columns(self, response: Response) -> dict[str, Any]:
        """The parameters behind the first two."""
        known = {
            **response.prompt.extra,
            "prompt": response.prompt.text,
            "num_tokens": response.num_tokens,
            "truncated": response.truncated,
        }
        chosen: dict[str, Any] = {}
        for parameter in self._extra_parameters:
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                chosen |= {name: value for name, value in response.prompt.extra.items() if name not in chosen}
            elif parameter.name in known:
                chosen[parameter.name] = known[parameter.name]
            elif parameter.default is inspect.Parameter.empty:
                raise SettingError(
                    f"Expected a column {parameter.name!r} for reward function {self.name}, but the row of prompt "
                    f"{response.prompt.id} has {sorted(response.prompt.extra) or 'none besides problem and answer'}. "
                    "Name the parameter as a column of the data set, or give it a default."
                )
        return chosen

    def _call(self, response: Response, columns: Mapping[str, Any]) -> Score:
        try:
            return _checked(self.function(response.text, response.prompt.answer, **columns))
        except (Exception, SystemExit) as error:
            raise self._error(error, response) from error

    async def _await(self, response: Response, columns: Mapping[str, Any]) -> Score:
        try:
            verdict = await cast(Awaitable[Any], self.function(response.text, response.prompt.answer, **columns))
            return _checked(verdict)
        except (Exception, SystemExit) as error:
            raise self._error(error, response) from error

    def _error(self, error: BaseException, response: Response) -> RuntimeError:
        return RuntimeError(
            f"Reward function {self.name} raised {type(error).__name__}: {error}, for prompt {response.prompt.id} and "
            f"response {response.text[:EXCERPT_CHARACTERS]!r}."
        )

    def check(self, prompt: Prompt) -> None:
        self._columns(Response("", prompt, 0, truncated=False))

    def metrics(self) -> dict[str, float]:
        timeouts, self._timeouts = self._timeouts, 0.0
        return {"function/timeouts": timeouts} if self._calls.may_time_out else {}


def _checked(verdict: Any) -> Score:
    if inspect.iscoroutine(verdict):
        verdict.close()
        raise TypeError("Expected a Score or a number, but it returned a coroutine; write the function as `async def`")
    if verdict is None or isinstance(verdict, str):
        raise TypeError(f"Expected a Score or a number, but it returned {verdict!r}")
    return Score.of(verdict)


def imported(path: str) -> Any:
    """What is at an import path, as `my_module.my_fn`.

    Raises:
        ValueError: If there is no such module, or nothing of that name in it.
    """
    module_name, _, attribute = path.rpartition(".")
    if not module_name:
        raise SettingError(f"Expected `function` to be given as 'my_module.my_fn', but got {path!r}.")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise SettingError(
            f"Expected to import reward function {path!r} from the module {module_name!r}, but that failed with "
            f"{type(error).__name__}: {error}. Modules are looked up in the current folder and in what is installed."
        ) from error
    if not hasattr(module, attribute):
        raise SettingError(f"Expected a function {attribute!r} in the module {module_name!r}, but there is none.")
    return getattr(module, attribute)


def name_of(function: Any) -> str:
    """Module and name of a function, or of the class of an object that is called like one."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', type(function).__module__)}.{name}"


def reward_for(function: Callable[..., Any]) -> Literal["TRLReward", "VerlReward", "FunctionReward"]:
    """The class that calls a function as it is written to be called, by the names of its parameters."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some functions that are written in C
        names = []
    if "completions" in names:
        return "TRLReward"
    return "VerlReward" if "solution_str" in names else "FunctionReward"


def _extra_parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    """The parameters behind response and ground truth, which can be given by name."""
    kinds = inspect.Parameter
    parameters = list(inspect.signature(function).parameters.values())
    written_for = reward_for(function)
    if written_for == "VerlReward" and parameters[0].name != "solution_str":
        raise SettingError(
            f"Expected reward function {name} to take a response and an answer first, as in "
            f"`def {name.rpartition('.')[2]}(response, answer)`, but it takes {inspect.signature(function)}, as verl's "
            "do. Use `VerlReward`, from Python VerlReward(function)."
        )
    if written_for == "TRLReward":
        raise SettingError(
            f"Expected reward function {name} to take one response and its answer, as in "
            f"`def {name.rpartition('.')[2]}(response, answer)`, but it takes {inspect.signature(function)}, a list of "
            f"completions, as TRL's do. Use `TRLReward`: --data.reward=TRLReward --data.reward.functions={name}."
        )
    if any(parameter.kind is kinds.VAR_POSITIONAL for parameter in parameters[:2]):
        return [parameter for parameter in parameters if parameter.kind in (kinds.KEYWORD_ONLY, kinds.VAR_KEYWORD)]
    first, rest = parameters[:2], parameters[2:]
    if len(first) < 2 or any(one.kind not in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD) for one in first):
        raise SettingError(
            f"Expected reward function {name} to take a response and an answer first, as in "
            f"`def {name.rpartition('.')[2]}(response, answer)`, but it takes {inspect.signature(function)}."
        )
    for parameter in rest:
        if parameter.kind is kinds.POSITIONAL_ONLY:
            raise SettingError(
                f"Expected parameter {parameter.name!r} of reward function {name} to have a usable name."
            )
    return [parameter for parameter in rest if parameter.kind is not kinds.VAR_POSITIONAL]
