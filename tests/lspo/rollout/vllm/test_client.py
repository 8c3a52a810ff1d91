from __future__ import annotations

import importlib.util
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lspo.rollout.vllm.client import ServerAwayError, ServerRefusalError, VLLMClient


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts a server that answers its n-th request as the n-th of some functions says, the last of them for ever.

    With HTTP/1.1 it keeps connections. `seen` gets the port that each request came from.
    """
    servers: list[ThreadingHTTPServer] = []

    def start(
        *answers: Callable[[BaseHTTPRequestHandler], None],
        protocol: str = "HTTP/1.0",
        seen: list[int] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> str:
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = protocol

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if seen is not None:
                    seen.append(self.client_address[1])
                (left.pop(0) if len(left) > 1 else left[0])(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http{'' if context is None else 's'}://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def say(status: int, text: str = "{}") -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(text.encode())))
        handler.end_headers()
        handler.wfile.write(text.encode())

    return answer


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
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
    with pytest.raises(ServerAwayError, match=r"GET http://127.*/x: TimeoutError \(no answer within 0.1 s\)"):
        client(url, timeout_seconds=0.1).ask("GET", "/x")


def test_a_machine_that_takes_no_connection(monkeypatch):
    """Its queue of connections is full; an answer may take minutes, a connection not."""
    monkeypatch.setattr("lspo.rollout.vllm.client.CONNECT_SECONDS", 0.1)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        started = time.monotonic()
        with pytest.raises(ServerAwayError, match=r"TimeoutError \(no connection within 0.1 s\)"):
            client(f"http://127.0.0.1:{full.getsockname()[1]}", timeout_seconds=20.0).ask("GET", "/x")
        assert time.monotonic() - started < 10
        for one in waiting:
            one.close()


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
def test_a_refusal_is_not_tried_again(serve, status):
    waits: list[float] = []
    seen: list[int] = []
    url = serve(say(status, "no such thing"), say(200), seen=seen)
    with pytest.raises(ServerRefusalError, match=f"HTTP {status}: no such thing") as caught:
        client(url, waits).ask_patiently("GET", "/x")
    assert caught.value.status == status
    assert waits == []
    assert len(seen) == 1


def test_connections_are_kept_but_not_for_what_changes_the_server(serve):
    seen: list[int] = []
    asked = client(serve(say(200), protocol="HTTP/1.1", seen=seen))
    for _ in range(3):
        asked.ask("GET", "/x")
    asked.ask("POST", "/v1/completions", {}, repeatable=True)
    assert len(set(seen)) == 1
    asked.ask("POST", "/x")
    asked.ask("POST", "/x")
    assert len(set(seen)) == 3
    asked.close()


def test_a_kept_connection_that_the_server_drops_is_replaced(serve):
    seen: list[int] = []
    asked = client(serve(say(200, "1"), hang_up, say(200, "2"), protocol="HTTP/1.1", seen=seen))
    assert asked.ask("GET", "/x") == 1
    assert asked.ask("GET", "/x") == 2
    assert seen[0] == seen[1] != seen[2]
    asked.close()


def test_a_new_connection_that_the_server_drops_is_not(serve):
    seen: list[int] = []
    asked = client(serve(hang_up, protocol="HTTP/1.1", seen=seen))
    for repeatable in (True, False):
        with pytest.raises(ServerAwayError, match=r"POST .*: ConnectionError \(Server disconnected"):
            asked.ask("POST", "/x", {}, repeatable=repeatable)
    assert len(seen) == 2
    asked.close()


@pytest.mark.parametrize("how", ["hang_up", "close"])
def test_requests_that_wait_end_at_once_and_are_not_asked_again(serve, how):
    """Over new connections and kept ones."""
    seen: list[int] = []
    gate = threading.Event()

    def hold(handler: BaseHTTPRequestHandler) -> None:
        gate.wait(20)
        with suppress(OSError):
            say(200)(handler)

    asked = client(serve(say(200, "1"), *[hold] * 4, say(200, "2"), protocol="HTTP/1.1", seen=seen))
    try:
        assert asked.ask("GET", "/x") == 1
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(asked.ask, "GET", "/x") for _ in range(4)]
            started = time.monotonic()
            while len(seen) < 5:
                time.sleep(0.01)
            getattr(asked, how)()
            for one in waiting:
                assert isinstance(one.exception(10), ServerAwayError)
        assert time.monotonic() - started < 10
        assert len(seen) == 5
        assert asked.ask("GET", "/x") == 2
    finally:
        gate.set()
        asked.close()


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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the command openssl, to make a certificate")
def test_a_certificate_that_is_not_trusted_is_not_waited_for(serve, tmp_path: Path, monkeypatch):
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")]
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", *files, *name], check=True, stderr=-3)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    url = serve(say(200, "1"), context=context)
    with pytest.raises(ServerRefusalError, match=r"(?i)self.signed.* authority in SSL_CERT_FILE"):
        client(url).ask_patiently("GET", "/x")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
    assert client(url).ask_patiently("GET", "/x") == 1


@pytest.mark.parametrize("missing", ["httpx", "tenacity"])
def test_what_is_not_installed_is_named(monkeypatch, missing):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else found(name))
    for method in ("ask", "ask_patiently"):
        with pytest.raises(
            ModuleNotFoundError, match=rf"but there is no {missing}. .*`pip install httpx tenacity`.*lspo\[vllm\]"
        ):
            getattr(client("http://127.0.0.1:9"), method)("GET", "/x")


def test_neither_is_imported_before_it_is_needed():
    code = (
        "import sys; from lspo.rollout.vllm.client import VLLMClient; VLLMClient('http://a')\n"
        "assert not {'httpx', 'tenacity'} & set(sys.modules)"
    )
    root = Path(__file__).parents[4]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)


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
