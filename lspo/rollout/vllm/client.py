"""HTTP to a vLLM server: one request at a time, with time-outs, and patience while it is away."""

from __future__ import annotations

import importlib.util
import json
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from lspo.errors import MissingLibraryError, RunError, SettingError

if TYPE_CHECKING:
    import httpx

FIRST_WAIT = 0.25
LONGEST_WAIT = 10.0
CONNECT_SECONDS = 10.0
"""A machine that does not take a connection in this time is away, however long answers may take."""
KEEP_SECONDS = 2.0
"""How long a connection is kept for the next request. A vLLM server closes idle ones after 5 s."""
AWAY_STATUS = (502, 503, 504)
"""What a proxy says for a server that is away."""


NO_STATUS = 0


class ServerAwayError(RunError):
    """The server does not answer: it is down, unreachable, or slower than the time-out."""


class ServerRefusalError(RunError):
    """The server answers, and says no.

    Args:
        message: What was asked, and what it says.
        status: HTTP's; `NO_STATUS` if it did not come so far.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def require_http() -> None:
    """Says what to install.

    Raises:
        ModuleNotFoundError: If httpx or tenacity is not there.
    """
    missing = [name for name in ("httpx", "tenacity") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingLibraryError(
            f"Expected httpx and tenacity to be installed for requests to a vLLM server, but there is no "
            f"{' and no '.join(missing)}. Install both, `pip install httpx tenacity`. The extra `lspo[vllm]` has them "
            "too, with vLLM itself, which only the server needs.",
            name=missing[0],
        )


class VLLMClient:
    """Asks a server over HTTP and reads JSON. Safe to use from several threads.

    Connections are kept for the next request. The server may close a kept one at the moment it is used again;
    then the request is sent once more, over a new connection. So only requests that may be repeated use kept
    connections. Others, which change something at the server, each have a connection of their own.

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
            raise SettingError(f"Expected `url` of the server to be like 'http://localhost:8000', but got {url!r}.")
        for name, seconds in (("timeout_seconds", timeout_seconds), ("absence_seconds", absence_seconds)):
            if not seconds > 0:
                raise SettingError(f"Expected `{name}` to be above 0, but got {seconds}.")
        self.url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        api_key = api_key and api_key.strip()  # a file of secrets ends in a line break
        if api_key:
            if not (api_key.isascii() and api_key.isprintable()):
                raise SettingError("Expected a key of the server of printable ASCII characters, but it has others.")
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._lock = threading.Lock()
        self._idle: list[httpx.Client] = []
        self._certificates: ssl.SSLContext | None = None
        weakref.finalize(self, _close_all, self._idle)
        self._sockets: set[socket.socket] = set()
        self._hang_ups = 0
        self.timeout_seconds, self.absence_seconds = timeout_seconds, absence_seconds
        self.sleep = sleep

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout_seconds: float | None = None,
        repeatable: bool | None = None,
    ) -> Any:
        """One attempt.

        Args:
            method: Of HTTP.
            path: The route.
            body: Sent as JSON; None for none.
            timeout_seconds: For the answer; None for the client's.
            repeatable: It changes nothing at the server, so that it may be sent twice; None: if it is a GET.

        Raises:
            ServerAwayError: If there is no answer in time.
            ServerRefusalError: If the answer is an error, or no JSON.
        """
        asked = f"{method} {self.url}{path}"
        kept = method == "GET" if repeatable is None else repeatable
        try:
            status, text = self._exchange(method, path, body, timeout_seconds or self.timeout_seconds, kept)
        except ssl.SSLCertVerificationError as error:
            raise ServerRefusalError(
                f"{asked}: {error}. Name the file with its authority in SSL_CERT_FILE.", NO_STATUS
            ) from error
        except OSError as error:
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

    def _exchange(self, method: str, path: str, body: Any, seconds: float, kept: bool) -> tuple[int, str]:
        """Status and text of the answer; failures as OSErrors."""
        require_http()
        import httpx

        connected, hang_ups = False, self._hang_ups

        def trace(event: str, details: dict[str, Any]) -> None:
            nonlocal connected
            if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
                connected = True
                self._note(details["return_value"].get_extra_info("socket"))

        first = min(CONNECT_SECONDS, seconds)
        answered = False
        try:
            with (
                self._connection(kept) as client,
                client.stream(
                    method,
                    self.url + path,
                    content=None if body is None else json.dumps(body),
                    timeout=httpx.Timeout(seconds, connect=first, pool=None),
                    extensions={"trace": trace},
                ) as response,
            ):
                answered = True
                return response.status_code, response.read().decode("utf-8", errors="replace")
        except httpx.ConnectTimeout as error:
            raise TimeoutError(f"no connection within {first:g} s") from error
        except httpx.TimeoutException as error:
            raise TimeoutError(f"no answer within {seconds:g} s") from error
        except (httpx.LocalProtocolError, httpx.InvalidURL) as error:
            raise ServerRefusalError(f"{method} {self.url}{path} can't be sent: {error}", NO_STATUS) from error
        except httpx.HTTPError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ssl.SSLCertVerificationError(str(error)) from error
            if answered:
                raise ConnectionError(f"IncompleteRead: {error}") from error
            if not kept or connected or self._hang_ups > hang_ups:
                raise ConnectionError(str(error) or type(error).__name__) from error
        # The server has closed a kept connection meanwhile.
        return self._exchange(method, path, body, seconds, kept=False)

    @contextmanager
    def _connection(self, kept: bool) -> Iterator[httpx.Client]:
        """A client of httpx with one connection, for one request: an idle one where it may be kept.

        One client for all goes through all its connections, twice for each request and under a lock. With 256 requests
        in flight that took 11 ms of CPU time per request, and this 1.5 ms.
        """
        with self._lock:
            client = self._idle.pop() if kept and self._idle else self._new_client()
        try:
            yield client
        finally:
            if kept:
                self._idle.append(client)
            else:
                client.close()

    def _new_client(self) -> httpx.Client:
        import httpx

        if self._certificates is None:
            # The system's authorities, or those that SSL_CERT_FILE names.
            self._certificates = ssl.create_default_context()
        return httpx.Client(
            headers=self._headers,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=KEEP_SECONDS),
            trust_env=False,
            verify=self._certificates,
        )

    def _note(self, opened: socket.socket) -> None:
        with self._lock:
            self._sockets = {one for one in self._sockets if one.fileno() != -1} | {opened}

    def hang_up(self) -> None:
        """Ends all requests that wait for an answer; each raises `ServerAwayError` in its thread. VLLM drops them."""
        with self._lock:
            self._hang_ups += 1
            sockets = list(self._sockets)
        for one in sockets:
            # Closed by its thread meanwhile: then it is done.
            with suppress(OSError):
                # Of the connection below TLS: that above is in use by its thread.
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends requests, as `hang_up`, and closes kept connections. The next request opens new ones."""
        self.hang_up()
        _close_all(self._idle)

    def ask_patiently(self, method: str, path: str, body: Any = None) -> Any:
        """Attempts until there is an answer, or the server has been away too long.

        Raises:
            ServerAwayError: Then, with the last attempt's reason.
            ServerRefusalError: If the answer is an error.
        """
        require_http()
        import tenacity

        started = time.monotonic()
        growing = tenacity.wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)

        def left() -> float:
            return self.absence_seconds - (time.monotonic() - started)

        def attempt() -> Any:
            # A server that takes a connection and says nothing is away too.
            seconds = min(self.timeout_seconds, max(left(), CONNECT_SECONDS))
            return self.ask(method, path, body, timeout_seconds=seconds)

        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ServerAwayError),
            stop=lambda state: left() <= 0,
            wait=lambda state: max(0.0, min(growing(state), left())),
            sleep=self.sleep,
            reraise=True,
        )
        try:
            return attempts(attempt)
        except ServerAwayError as error:
            raise ServerAwayError(
                f"Expected a vLLM server at {self.url}, but it has not answered for absence_seconds="
                f"{self.absence_seconds:g} (last: {error}). Start it, `vllm serve <model>`, correct `url`, or "
                "raise `absence_seconds`. The run goes on from its last checkpoint with `--ckpt_path last`."
            ) from error


def _close_all(clients: list[httpx.Client]) -> None:
    while clients:
        clients.pop().close()


def _is_plain(parts: SplitResult) -> bool:
    """True if nothing in a URL would be left out silently."""
    try:
        port_is_a_number = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return port_is_a_number and parts.username is None and not parts.query and not parts.fragment
