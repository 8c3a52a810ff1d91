"""One vLLM server: which model it serves, which weights it has, and its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lspo.errors import RunError
from lspo.rollout.vllm.client import ServerAwayError, ServerRefusalError, VLLMClient


class VLLMServer:
    """What an engine asks of one server.

    Args:
        client: To it.
    """

    def __init__(self, client: VLLMClient) -> None:
        self.client = client
        self.model = ""
        self.max_model_len: int | None = None

    @property
    def url(self) -> str:
        return self.client.url

    def find_model(self, wanted: str) -> None:
        """Waits for the server, and reads what it serves.

        Raises:
            RuntimeError: If it is another model, or a key is asked for.
        """
        try:
            served = self.client.ask_patiently("GET", "/v1/models")["data"]
        except ServerRefusalError as error:
            if error.status not in (401, 403):
                raise
            raise RunError(
                f"Expected the vLLM server to let this run in, but it asks for a key: {error}. Have the key in the "
                "environment variable that `api_key_variable` names."
            ) from error
        for entry in served:
            if wanted == entry["id"] or _same_place(wanted, entry.get("root")):
                self.model, self.max_model_len = entry["id"], entry.get("max_model_len")
                return
        names = ", ".join(f"{entry['id']} (from {entry.get('root')})" for entry in served)
        raise RunError(
            f"Expected the vLLM server at {self.url} to serve {wanted}, but it serves {names}. Start it with "
            "the policy's model, or set `model` to the name it goes by there."
        )

    def held_marker(self) -> str | None:
        """What its last update said; a server that has restarted does not know it any more."""
        return self.client.ask_patiently("GET", "/weight_info").get("weight_version")

    def complete(self, prompt_ids: list[int], settings: dict[str, Any]) -> dict[str, Any]:
        """Its one answer to a prompt.

        Raises:
            ServerAwayError: If there is none, or it has failed within: vLLM says 500 for what may be tried again, and
                before it goes down.
            RuntimeError: If it is not of vLLM's form.
        """
        body = {
            **settings, "model": self.model, "prompt": prompt_ids, "return_token_ids": True, "stream": False,
        }  # fmt: skip
        try:
            # With its seed in it: asked again, it gets the same answer.
            choice = self.client.ask("POST", "/v1/completions", body, repeatable=True)["choices"][0]
            return {
                "token_ids": choice["token_ids"],
                "logprobs": choice["logprobs"]["token_logprobs"],
                "finish_reason": choice["finish_reason"],
            }
        except ServerRefusalError as error:
            if error.status < 500:
                raise
            raise ServerAwayError(str(error)) from error
        except (KeyError, IndexError, TypeError) as error:
            raise RunError(
                f"Expected tokens and log-probs in an answer of the vLLM server at {self.url}, but {error!r} is not "
                "there. Is it vLLM 0.32?"
            ) from error


def _same_place(wanted: str, root: str | None) -> bool:
    """True if both name one model: the same words, or two ways of writing one folder."""
    if root is None:
        return False
    return wanted == root or (Path(wanted).exists() and Path(wanted).resolve() == Path(root).resolve())
