"""HTTP to a vLLM server: one request at a time, with time-outs, and patience while it is away."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

FIRST_WAIT = 0.25
LONGEST_WAIT = 10.0
CONNECT_SECONDS = 10.0
"""A machine that does not take a connection in this time is away, however long answers may take."""
AWAY_STATUS = (502, 503, 504)
"""What a proxy says for a server that is away."""


NO_STATUS = 0


class ServerAwayError(RuntimeError):
    """The server does not answer: it is down, unreachable, or slower than the time-out."""


class ServerRefusalError(RuntimeError):
    """The server answers, and says no.

    Args:
        message: What was asked, and what it says.
        status: HTTP's; `NO_STATUS` if it did not come so far.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class VLLMClient:
    """Asks a server over HTTP and reads JSON. Safe to use from several threads: each request has its connection.

    Args:
        url: Of the server; a path in it goes before those of the routes. Proxies of the environment are not used.
        api_key: Sent with every request, if it asks for one.
        timeout_seconds: For one answer.
        absence_seconds: How long to keep trying a server that is away, at growing intervals.
        sleep: Waits; another one for tests.

    Raises:
        ValueError: If the URL is not one of HTTP, or a time is not above 0.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 600.0,
        absence_seconds: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not _is_plain(parts):
            raise ValueError(f"Expected `url` of the server to be like 'http://localhost:8000', but got {url!r}.")
        for name, seconds in (("timeout_seconds", timeout_seconds), ("absence_seconds", absence_seconds)):
            if not seconds > 0:
                raise ValueError(f"Expected `{name}` to be above 0, but got {seconds}.")
        self.url = url.rstrip("/")
        self._parts = parts
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._open: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self.timeout_seconds, self.absence_seconds = timeout_seconds, absence_seconds
        self.sleep = sleep

    def ask(self, method: str, path: str, body: Any = None, *, timeout_seconds: float | None = None) -> Any:
        """One attempt.

        Raises:
            ServerAwayError: If there is no answer in time.
            ServerRefusalError: If the answer is an error, or no JSON.
        """
        asked = f"{method} {self.url}{path}"
        try:
            status, text = self._exchange(method, path, body, timeout_seconds or self.timeout_seconds)
        except ssl.SSLCertVerificationError as error:
            raise ServerRefusalError(
                f"{asked}: {error}. Name the file with its authority in SSL_CERT_FILE.", NO_STATUS
            ) from error
        except (OSError, http.client.HTTPException) as error:
            # Time-outs too are OSErrors.
            raise ServerAwayError(f"{asked}: {type(error).__name__}{f' ({error})' if str(error) else ''}") from error
        if status in AWAY_STATUS:
            raise ServerAwayError(f"{asked}: HTTP {status}")
        if status >= 300:
            raise ServerRefusalError(f"{asked}: HTTP {status}: {text[:500]}", status)
        try:
            return json.loads(text) if text else None
        except ValueError as error:
            raise ServerRefusalError(
                f"{asked}: expected JSON from a vLLM server, but got {text[:80]!r}. Is `url` that of another server?",
                status,
            ) from error

    def _exchange(self, method: str, path: str, body: Any, timeout_seconds: float) -> tuple[int, str]:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=min(CONNECT_SECONDS, timeout_seconds))
        payload = None if body is None else json.dumps(body)
        with self._lock:
            self._open.add(connection)
        try:
            connection.connect()
            connection.sock.settimeout(timeout_seconds)
            connection.request(method, self._parts.path.rstrip("/") + path, payload, self._headers)
            # Closed by name: one that breaks off amid its answer would keep the socket.
            with connection.getresponse() as response:
                return response.status, response.read().decode("utf-8", errors="replace")
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def hang_up(self) -> None:
        """Ends all requests that wait for an answer; each raises `ServerAwayError` in its thread. VLLM drops them."""
        with self._lock:
            sockets = [connection.sock for connection in self._open if connection.sock is not None]
        for one in sockets:
            # Closed by its thread meanwhile: then it is done.
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def ask_patiently(self, method: str, path: str, body: Any = None) -> Any:
        """Attempts until there is an answer, or the server has been away too long.

        Raises:
            ServerAwayError: Then, with the last attempt's reason.
            ServerRefusalError: If the answer is an error.
        """
        started, wait = time.monotonic(), FIRST_WAIT
        while True:
            try:
                # A server that takes a connection and says nothing is away too.
                left = self.absence_seconds - (time.monotonic() - started)
                seconds = min(self.timeout_seconds, max(left, CONNECT_SECONDS))
                return self.ask(method, path, body, timeout_seconds=seconds)
            except ServerAwayError as error:
                left = self.absence_seconds - (time.monotonic() - started)
                if left <= 0:
                    raise ServerAwayError(
                        f"Expected a vLLM server at {self.url}, but it has not answered for absence_seconds="
                        f"{self.absence_seconds:g} (last: {error}). Start it, `vllm serve <model>`, correct `url`, or "
                        "raise `absence_seconds`. The run goes on from its last checkpoint with `--ckpt_path last`."
                    ) from error
                self.sleep(min(wait, left))
                wait = min(2 * wait, LONGEST_WAIT)


def _is_plain(parts: SplitResult) -> bool:
    """True if nothing in a URL would be left out without a word."""
    try:
        port_is_a_number = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return port_is_a_number and parts.username is None and not parts.query and not parts.fragment
