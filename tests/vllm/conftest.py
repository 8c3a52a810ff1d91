"""Runs of a real vLLM on the CPU: small float32 policies, one engine a process."""

from __future__ import annotations

import json
import os
import socket
import string
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lspo.models.tokenizers import character_tokenizer

TOKENIZER = character_tokenizer(string.ascii_lowercase + string.digits)  # 38: vLLM pads that to 64
HERE = Path(__file__).parent
STARTUP_SECONDS = 180
HEADS = {"hidden_size": 128, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
"""Heads of 32 channels, the smallest that vLLM's attention on CPUs takes."""


def make_policy_folder(folder: Path, kind: str = "qwen2", *, tied: bool = True, seed: int = 0) -> Path:
    """A tiny random policy of one of transformers' kinds, whose choices are neither even nor certain."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind, **HEADS, num_hidden_layers=2, vocab_size=len(TOKENIZER), max_position_embeddings=256,
        tie_word_embeddings=tied, initializer_range=0.12, bos_token_id=None, eos_token_id=TOKENIZER.eos_token_id,
        pad_token_id=TOKENIZER.pad_token_id, **({"head_dim": 32} if kind in ("llama", "qwen3") else {}),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Of processes that tests start. Servers ask for the key, and engines have it, by the variable's name alone."""
    return {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1", "VLLM_API_KEY": "key",
    }  # fmt: skip


@pytest.fixture(scope="session")
def run_script_in(environment: dict[str, str]) -> Callable[..., list[dict[str, Any]]]:
    """Runs a script of this folder, in one process or several, and gives what each printed last, as JSON."""

    def run(folder: Path, name: str, *arguments: str, processes: int = 1, timeout: float = 300) -> list[dict[str, Any]]:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        started = []
        for rank in range(processes):
            ranks = {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }  # fmt: skip
            started.append(
                subprocess.Popen(
                    [sys.executable, str(HERE / name), *arguments],
                    env={**environment, **(ranks if processes > 1 else {})},
                    cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
        try:
            printed = [process.communicate(timeout=timeout) for process in started]
        finally:
            for process in started:
                process.kill()
                process.communicate()
        for process, (_, errors) in zip(started, printed, strict=True):
            assert process.returncode == 0, errors[-4000:]
        return [json.loads(output.strip().splitlines()[-1]) for output, _ in printed]

    return run


@pytest.fixture
def run_script(tmp_path: Path, run_script_in: Callable[..., Any]) -> Callable[..., list[dict[str, Any]]]:
    return partial(run_script_in, tmp_path)


class Server:
    """`vllm serve` in a process of its own."""

    def __init__(self, folder: Path, log: Path, environment: dict[str, str], *flags: str) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._command = [
            sys.executable, str(HERE / "serve.py"), str(folder), "--host", "127.0.0.1", "--port", str(self.port),
            "--dtype", "float32", "--enforce-eager", "--max-model-len", "128", "--generation-config", "vllm",
            "--logprobs-mode", "processed_logprobs", "--weight-transfer-config", '{"backend": "lspo"}',
            "--disable-uvicorn-access-log", "--no-enable-chunked-prefill", *flags,
        ]  # fmt: skip
        self._environment = {
            **environment, "VLLM_SERVER_DEV_MODE": "1", "TORCHDYNAMO_DISABLE": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        with self._log.open("ab") as log:
            # A session of its own, to stop with its workers.
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()[-4000:]
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.5)
        raise AssertionError(f"no server after {STARTUP_SECONDS} s: {self._log.read_text()[-4000:]}")

    def stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_policy_folder(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def make_server(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Iterator[Callable[..., Server]]:
    """Starts a server of a folder; further arguments are flags."""
    started: list[Server] = []

    def make(folder: Path, *flags: str) -> Server:
        started.append(Server(folder, tmp_path_factory.mktemp("server") / "log.txt", environment, *flags))
        started[-1].start()
        return started[-1]

    yield make
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def server(served_folder: Path, make_server: Callable[..., Server]) -> Server:
    return make_server(served_folder)


@pytest.fixture
def make_policy(tmp_path: Path) -> Callable[..., Path]:
    return lambda kind="qwen2", **settings: make_policy_folder(tmp_path / "policy", kind, **settings)
