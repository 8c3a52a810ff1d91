"""A reward function as it is written for verl."""

from __future__ import annotations

import importlib.util
import inspect
import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from hashlib import blake2b
from numbers import Real
from pathlib import Path
from typing import Any

from lspo.errors import SettingError
from lspo.rewards.base import Response
from lspo.rewards.function import FunctionReward, imported, name_of
from lspo.rewards.limited_calls import is_async
from lspo.rewards.wrapper import RewardWrapper
from lspo.types import Prompt, Score


class VerlReward(RewardWrapper):
    """What a reward function of verl says: `acc` is accuracy, `score` the reward, `pred` the answer that votes.

        def compute_score(data_source, solution_str, ground_truth, extra_info=None, **kwargs) -> float | dict: ...

    It is called with these names for each response; `VerlProblems` has the columns. `acc` is 0, 1 or a bool. Other
    numbers of the dictionary are logged as `reward/<name>`. An `async def` is awaited.

    Unless `correct_above` is given, the function is tried once per `data_source` before the run, with an empty
    response, to see whether it says what is correct.

    Args:
        path: A file of Python, a module, or the function itself.
        name: The function in that file or module.
        correct_above: Where the function returns no `acc`, a response is correct if its score is above this.
        reward_kwargs: Further arguments of the function, by name.
        concurrency: Calls of an `async def` at a time.
        time_limit_seconds: For one call; None: no limit. A response that takes longer is wrong, and is counted in
            `function/timeouts`.
        any_thread: Whether a run may call it on another thread than the main one, while the engine writes on; see
            `Reward.any_thread`. None: an `async def` alone.

    Raises:
        ValueError: If there is no such function, or it can't be called like that.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Callable[..., Any],
        name: str = "compute_score",
        correct_above: float | None = None,
        reward_kwargs: dict[str, Any] | None = None,
        concurrency: int = 64,
        time_limit_seconds: float | None = 60.0,
        any_thread: bool | None = None,
    ) -> None:
        if correct_above is not None and not math.isfinite(correct_above):
            raise SettingError(f"Expected `correct_above` to be finite, but got {correct_above}.")
        self.path, self.name, self.correct_above = path, name, correct_above
        self.reward_kwargs = dict(reward_kwargs or {})
        self._function = path if callable(path) else _found(os.fspath(path), name)
        self._label = name_of(path) if callable(path) else _label(os.fspath(path), name)
        self._tried: set[str] = set()
        _check_signature(self._function, self._label, self.reward_kwargs)
        super().__init__(FunctionReward(self._adapter(), concurrency, time_limit_seconds, any_thread))
        self.concurrency, self.time_limit_seconds = concurrency, time_limit_seconds

    def may_leave_main_thread(self) -> bool:
        return type(self) is VerlReward and self.reward.may_leave_main_thread()

    def _adapter(self) -> Callable[..., Any]:
        """The function as one of `FunctionReward`, whose messages name the user's."""

        def plain(response: str, answer: str, **columns: Any) -> Score:
            return self._score(self._function(**self._arguments(response, answer, columns)))

        async def awaited(response: str, answer: str, **columns: Any) -> Score:
            return self._score(await self._function(**self._arguments(response, answer, columns)))

        adapter = awaited if is_async(self._function) else plain
        adapter.__module__, _, adapter.__qualname__ = self._label.rpartition(".")
        return adapter

    def _arguments(self, response: str, answer: str, columns: Mapping[str, Any]) -> dict[str, Any]:
        model = columns.get("reward_model")
        truth = model.get("ground_truth", answer) if isinstance(model, Mapping) else answer
        return {
            "data_source": columns["data_source"],
            "solution_str": response,
            "ground_truth": truth,
            "extra_info": columns.get("extra_info"),
            **self.reward_kwargs,
        }

    def _score(self, returned: Any) -> Score:
        if isinstance(returned, Mapping):
            if "score" not in returned:
                raise TypeError(f"Expected a number, or a dictionary with `score`, but it returned {dict(returned)!r}")
            reward = _number(returned["score"], "score")
            pred = returned.get("pred")
            answer = None if pred is None else str(pred)
            numbers = {name: value for name, value in returned.items() if name not in ("score", "acc", "pred")}
            parts = {name: float(value) for name, value in numbers.items() if isinstance(value, Real)}
            if returned.get("acc") is not None:
                return Score(_number(returned["acc"], "acc"), reward, parts, answer)
            return Score(self._accuracy(reward), reward, parts, answer)
        reward = _number(returned, "score")
        return Score(float(returned) if isinstance(returned, bool) else self._accuracy(reward), reward)

    def _accuracy(self, reward: float) -> float:
        if self.correct_above is None:
            raise _UndecidedError(
                f"Expected {self._label} to say what is correct, but it returned a score of {reward:g} without `acc`. "
                "Set `correct_above`: a response is then correct if its score is above that. Or return "
                '`{"score": ..., "acc": ...}`'
            )
        return float(reward > self.correct_above)

    def score_batch(self, responses: Sequence[Response]) -> list[Score]:
        return self.inner_scores(responses)

    def check(self, prompt: Prompt) -> None:
        if "data_source" not in prompt.extra:
            raise SettingError(
                f"Expected a column 'data_source' for {self._label}, as verl's data has, but the row of prompt "
                f"{prompt.id} has {', '.join(map(str, prompt.extra)) or 'none besides problem and answer'}. Read the "
                'set with `VerlProblems`, or name the column in `extra`, as in `extra: ["data_source"]`.'
            )
        source = str(prompt.extra["data_source"])
        if self.correct_above is None and source not in self._tried:
            self._tried.add(source)
            self._try(prompt)

    def _try(self, prompt: Prompt) -> None:
        try:
            self.score_batch([Response("", prompt, 0, truncated=False)])
        except RuntimeError as error:
            if isinstance(error.__cause__, _UndecidedError):
                raise SettingError(f"{error.__cause__}.") from None
            raise SettingError(
                f"{error} It was tried with an empty response, which a policy may write: return a score of 0 for text "
                "that has no answer. With `correct_above` it is not tried before the run."
            ) from error
        if self.reward.metrics().get("function/timeouts"):  # none of the run's
            warnings.warn(
                f"{self._label} took more than {self.time_limit_seconds:g} s for an empty response, so that it is not "
                "known before the run whether it says what is correct.",
                stacklevel=2,
            )


class _UndecidedError(TypeError):
    """A score without a verdict."""


def _number(value: Any, name: str) -> float:
    if value is None or isinstance(value, str | bytes):
        raise TypeError(f"Expected a number as `{name}`, but it returned {value!r}")
    return float(value)


def _label(path: str, name: str) -> str:
    """What messages call the function: always with a dot in it, as a module has."""
    return f"{path}:{name}" if path.endswith(".py") else f"{path}.{name}"


def _found(path: str, name: str) -> Callable[..., Any]:
    """The function of that name in a file or a module."""
    if not path.endswith(".py"):
        if not path:
            raise SettingError("Expected a file of Python or a module as `path`, but got ''.")
        return _callable(imported(f"{path}.{name}"), path, name)
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        others = [other.name for other in file.parent.glob("*.py")] if file.parent.is_dir() else []
        near = get_close_matches(file.name, others, n=1)
        raise SettingError(
            f"Expected a file of Python at {path}, but there is none."
            + (f" Did you mean {near[0]}?" if near else " Relative paths start in the current folder.")
        )
    # By its path: two files may have one name, and one that is read twice is one module.
    module_name = f"lspo_verl_{file.stem}_{blake2b(str(file).encode(), digest_size=4).hexdigest()}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise SettingError(
                f"Expected to read the reward function {name!r} from {path}, but that failed with "
                f"{type(error).__name__}: {error}"
            ) from error
    if not hasattr(module, name):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise SettingError(
            f"Expected a function {name!r} in {path}, but it has {', '.join(functions) or 'no function'}. Say which "
            "with `name`."
        )
    return _callable(getattr(module, name), path, name)


def _callable(function: Any, path: str, name: str) -> Callable[..., Any]:
    if not callable(function):
        raise SettingError(f"Expected {name!r} of {path} to be a function, but got {function!r}.")
    return function


def _check_signature(function: Callable[..., Any], label: str, more: Mapping[str, Any]) -> None:
    signature = inspect.signature(function)
    named = dict.fromkeys(("data_source", "solution_str", "ground_truth", "extra_info"))
    try:
        signature.bind(**{**named, **more})
    except TypeError as error:
        raise SettingError(
            f"Expected {label} to be `def compute_score(data_source, solution_str, ground_truth, extra_info=None)`"
            f"{' with ' + ', '.join(more) if more else ''}, but it takes {signature}: {error}. A function of a "
            "response and its answer is for `FunctionReward`."
        ) from error
