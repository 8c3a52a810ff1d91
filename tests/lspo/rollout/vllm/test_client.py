from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

import pytest

from lspo.rollout.vllm.client import ServerAwayError, ServerRefusalError, VLLMClient


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts a server that answers its n-th request as the n-th of some functions says, the last of them for ever."""
    servers: list[ThreadingHTTPServer] = []

    def start(*answers: Callable[[BaseHTTPRequestHandler], None]) -> str:
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                (left.pop(0) if len(left) > 1 else left[0])(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def say(status: int, text: str = "{}") -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(text.encode())

    return answer


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def dawdle(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.3)
    with suppress(BrokenPipeError):
        say(200)(handler)


def client(url: str, waits: list[float] | None = None, **settings: float) -> VLLMClient:
    def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)

    return VLLMClient(url, sleep=sleep, **{"absence_seconds": 30.0, **settings})


def test_an_answer(serve):
    assert client(serve(say(200, '{"a": 1}'))).ask("GET", "/x") == {"a": 1}


def test_a_short_absence_is_ridden_out_at_growing_intervals(serve):
    waits: list[float] = []
    url = serve(say(503), hang_up, say(502), say(200, '{"a": 1}'))
    assert client(url, waits).ask_patiently("GET", "/x") == {"a": 1}
    assert waits == [0.25, 0.5, 1.0]


def test_an_answer_that_takes_too_long(serve):
    url = serve(dawdle, say(200, "3"))
    with pytest.raises(ServerAwayError, match="TimeoutError"):
        client(url, timeout_seconds=0.1).ask("GET", "/x")


def test_a_refusal_is_not_tried_again(serve):
    waits: list[float] = []
    with pytest.raises(ServerRefusalError, match="HTTP 400: no such thing") as caught:
        client(serve(say(400, "no such thing"), say(200)), waits).ask_patiently("GET", "/x")
    assert caught.value.status == 400
    assert waits == []


def break_off(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"a"')


def test_an_answer_that_breaks_off_is_none(serve):
    with pytest.raises(ServerAwayError, match="IncompleteRead"):
        client(serve(break_off)).ask("GET", "/x")


def test_a_redirection_is_a_refusal(serve):
    with pytest.raises(ServerRefusalError, match="HTTP 302"):
        client(serve(say(302))).ask("GET", "/x")


def test_words_that_are_no_json(serve):
    with pytest.raises(ServerRefusalError, match=r"expected JSON .* but got 'Grüß Gott'. Is `url` that of another"):
        client(serve(say(200, "Grüß Gott"))).ask("GET", "/x")


def test_a_certificate_that_is_not_trusted_is_not_waited_for(monkeypatch):
    asked = client("https://localhost:1")
    monkeypatch.setattr(asked, "_exchange", mock.Mock(side_effect=ssl.SSLCertVerificationError("self-signed")))
    with pytest.raises(ServerRefusalError, match=r"self-signed.* authority in SSL_CERT_FILE"):
        asked.ask_patiently("GET", "/x")


def test_patience_ends_for_a_server_that_takes_connections_and_says_nothing(serve, monkeypatch):
    monkeypatch.setattr("lspo.rollout.vllm.client.CONNECT_SECONDS", 0.05)
    started = time.monotonic()
    with pytest.raises(ServerAwayError, match=r"has not answered for absence_seconds=0.1 \(last: .*TimeoutError"):
        client(serve(dawdle), absence_seconds=0.1, timeout_seconds=600.0).ask_patiently("GET", "/x")
    assert time.monotonic() - started < 5


def test_a_server_that_is_not_there_says_how_to_start_it(serve):
    found = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    port = found.server_address[1]
    found.server_close()
    with pytest.raises(
        ServerAwayError, match=rf"server at http://127.0.0.1:{port}, but it has not answered.*vllm serve"
    ):
        VLLMClient(f"http://127.0.0.1:{port}", absence_seconds=0.05).ask_patiently("GET", "/x")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": "localhost:8000"}, "like 'http://localhost:8000', but got 'localhost:8000'"),
        ({"url": "http://a:port"}, "like 'http://localhost:8000', but got 'http://a:port'"),
        ({"url": "http://me:word@a"}, "like 'http://localhost:8000'"),
        ({"url": "http://a/x?y=1"}, "like 'http://localhost:8000'"),
        ({"url": "http://a", "timeout_seconds": 0.0}, "`timeout_seconds` to be above 0"),
        ({"url": "http://a", "absence_seconds": -1.0}, "`absence_seconds` to be above 0"),
    ],
)
def test_settings_out_of_range(settings, told):
    with pytest.raises(ValueError, match=told):
        VLLMClient(**settings)
