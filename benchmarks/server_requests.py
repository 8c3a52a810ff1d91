"""What `VLLMServerEngine` itself costs per response: a stub server, with many requests pending.

    python benchmarks/server_requests.py --prompts 1536 --group_size 16 --max_requests 256

The server is a process of its own that computes nothing, and answers after a while. Printed are the seconds of a round,
this process's CPU time per response, responses per second in the first and in the last quarter of the groups (most
requests are pending, and few), and how many connections the server saw.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import string
import tempfile
import time
from multiprocessing.connection import Connection

TOKENS = 16


class Stub(asyncio.Protocol):
    """As much of HTTP as the engine speaks. One for each connection."""

    connections = 0
    delay = 0.0
    marker = "default"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer = transport, b""
        Stub.connections += 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        path = head.split(b" ", 2)[1].decode()
        body = json.loads(rest[:length]) if length else {}
        text = json.dumps(self.answer(path, body)).encode()
        message = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text) + text
        if path == "/v1/completions":
            asyncio.get_running_loop().call_later(Stub.delay * random.uniform(0.5, 1.5), self.transport.write, message)
        else:
            self.transport.write(message)

    def answer(self, path: str, body: dict[str, object]) -> object:
        if path == "/v1/models":
            return {"data": [{"id": "policy", "root": "policy", "max_model_len": 4096}]}
        if path == "/weight_info":
            return {"weight_version": Stub.marker, "connections": Stub.connections}
        if path == "/finish_weight_update":
            Stub.marker = str(body["weight_version"])
        if path == "/v1/completions":
            choice = {"token_ids": [5] * TOKENS, "logprobs": {"token_logprobs": [-1.0] * TOKENS}}
            return {"choices": [{**choice, "finish_reason": "length"}]}
        return {}


def serve(tell: Connection, delay: float) -> None:
    Stub.delay = delay

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0, backlog=1024)
        tell.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1536)
    parser.add_argument("--group_size", type=int, default=16)
    parser.add_argument("--max_requests", type=int, default=256)
    parser.add_argument("--answer_seconds", type=float, default=0.5, help="time until a response comes, in the mean")
    arguments = parser.parse_args()

    hear, tell = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(tell, arguments.answer_seconds), daemon=True
    )
    process.start()
    port = hear.recv()

    from lspo.models.tokenizers import character_tokenizer
    from lspo.rollout import Sampling, VLLMServerEngine
    from lspo.testing import StubPolicy, tiny_model
    from lspo.types import Prompt

    tokenizer = character_tokenizer(string.ascii_letters)
    policy = StubPolicy(tiny_model(tokenizer), tokenizer, name_or_path="policy")
    with tempfile.TemporaryDirectory() as folder:
        engine = VLLMServerEngine(
            f"http://127.0.0.1:{port}",
            folder=folder,
            dtype="float32",
            max_requests=arguments.max_requests,
            verify=False,
        )
        engine.setup(policy)
        engine.update()
        prompts = [Prompt(f"p{row}", "", (2, 3, 4, 5), "") for row in range(arguments.prompts)]
        asked = arguments.prompts * arguments.group_size
        started, cpu = time.perf_counter(), time.process_time()
        times = [started]
        for _ in engine.generate(
            prompts,
            group_size=arguments.group_size,
            sampling=Sampling(max_response_tokens=TOKENS),
            keys=range(arguments.prompts),
        ):
            times.append(time.perf_counter())
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        print(f"{asked} requests, {arguments.max_requests} in flight, {arguments.answer_seconds} s for an answer:")
        print(f"{seconds:.1f} s, {1000 * cpu / asked:.2f} ms of CPU time per response")
        quarter = max(1, arguments.prompts // 4)
        for name, part in (("first", times[1 : 1 + quarter]), ("last", times[-quarter:])):
            rate = quarter * arguments.group_size / (part[-1] - part[0])
            print(f"{rate:.0f} responses per second in the {name} quarter of the groups")
        info = engine.servers[0].client.ask("GET", "/weight_info")
        print(f"{info['connections']} connections; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
        engine.close()
    process.terminate()
    process.join()


if __name__ == "__main__":
    main()
