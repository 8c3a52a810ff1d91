"""HTTP to a vLLM server: one request at a time, with time-outs, and patience while it is away."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

FIRST_WAIT = 0.25
LONGEST_WAIT = 10.0
AWAY_STATUS = (502, 503, 504)
"""What a proxy says for a server that is away."""


class ServerAwayError(RuntimeError):
    """The server does not answer: it is down, unreachable, or slower than the time-out."""


class ServerRefusalError(RuntimeError):
    """The server answers, and says no.

    Args:
        message: What was asked, and what it says.
        status: HTTP's.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class VLLMClient:
    """Asks a server over HTTP and reads JSON. Safe to use from several threads: each request has its connection.

    Args:
        url: Of the server, without a path.
        timeout_seconds: For one answer.
        absence_seconds: How long to keep trying a server that is away, at growing intervals.
        sleep: Waits; another one for tests.

    Raises:
        ValueError: If the URL is not one of HTTP.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 600.0,
        absence_seconds: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"Expected `url` of the server to be like 'http://localhost:8000', but got {url!r}.")
        for name, seconds in (("timeout_seconds", timeout_seconds), ("absence_seconds", absence_seconds)):
            if not seconds > 0:
                raise ValueError(f"Expected `{name}` to be above 0, but got {seconds}.")
        self.url = url.rstrip("/")
        self._parts = parts
        self.timeout_seconds, self.absence_seconds = timeout_seconds, absence_seconds
        self._sleep = sleep

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One attempt.

        Raises:
            ServerAwayError: If there is no answer in time.
            ServerRefusalError: If the answer is an error.
        """
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self.timeout_seconds)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(
                method, self._parts.path.rstrip("/") + path, payload, {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            text = response.read().decode("utf-8", errors="replace")
        except (OSError, http.client.HTTPException) as error:
            # Time-outs too are OSErrors.
            raise ServerAwayError(
                f"{method} {self.url}{path}: {type(error).__name__}{f' ({error})' if str(error) else ''}"
            ) from error
        finally:
            connection.close()
        if response.status in AWAY_STATUS:
            raise ServerAwayError(f"{method} {self.url}{path}: HTTP {response.status}")
        if response.status >= 400:
            raise ServerRefusalError(
                f"{method} {self.url}{path}: HTTP {response.status}: {text[:500]}", response.status
            )
        return json.loads(text) if text else None

    def ask_patiently(self, method: str, path: str, body: Any = None) -> Any:
        """Attempts until there is an answer, or the server has been away too long.

        Raises:
            ServerAwayError: Then, with the last attempt's reason.
            ServerRefusalError: If the answer is an error.
        """
        started, wait = time.monotonic(), FIRST_WAIT
        while True:
            try:
                return self.ask(method, path, body)
            except ServerAwayError as error:
                left = self.absence_seconds - (time.monotonic() - started)
                if left <= 0:
                    raise ServerAwayError(
                        f"Expected a vLLM server at {self.url}, but it has not answered for absence_seconds="
                        f"{self.absence_seconds:g} (last: {error}). Start it, `vllm serve <model>`, correct `url`, or "
                        "raise `absence_seconds`. The run goes on from its last checkpoint with `--ckpt_path last`."
                    ) from error
                self._sleep(min(wait, left))
                wait = min(2 * wait, LONGEST_WAIT)
