"""The backend ``vllm`` for a server that is up already: its vllm-lens returns the residual stream over HTTP.

The whole stream crosses the line (the server does not pool), zstd-compressed; means are made here.

Shapes: L layers, T tokens, D width.
"""

import base64
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import torch
import zstandard

from steer_llama.config import ModelSettings
from steer_llama.errors import ModelError
from steer_llama.lm.packing import pack
from steer_llama.lm.reading.conversation import Batches, Conversation, Pooled, Wanted
from steer_llama.lm.reading.description import Description, describe
from steer_llama.lm.reading.sending import send_in_order
from steer_llama.lm.reading.sums import Sums
from steer_llama.progress import Reporter

KEY_VARIABLE = "VLLM_API_KEY"
"""The name that vLLM's own server reads its key from."""
_AT_ONCE = 4
"""Requests under way: the server computes some while others are sent."""
_TIMEOUT = httpx2.Timeout(600, connect=20)
_TYPES = {"torch.float32": "float32", "torch.float16": "float16", "torch.bfloat16": "bfloat16"}


class ServedReader:
    """Reads the model of a vLLM server (see `Reader`)."""

    def __init__(self, settings: ModelSettings, reporter: Reporter) -> None:
        """Ask the server what it serves, and for the residual stream of one token.

        Raises:
            ModelError: no such server, one without vllm-lens, or a model whose files are not found here.
        """
        self.where = settings.where.rstrip("/")
        key = os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._client = httpx2.Client(base_url=self.where, headers=headers, timeout=_TIMEOUT)
        except (httpx2.InvalidURL, ValueError) as error:
            raise ModelError(f"{self.where}: is no address ({error}), expected http://host:8000/v1.") from None
        try:
            self._open(settings, reporter)
        except BaseException:
            self.close()
            raise

    def _open(self, settings: ModelSettings, reporter: Reporter) -> None:
        served = _chosen(self._exchange("GET", "/models"), settings.name, self.where)
        self._served_name = str(served["id"])
        model = _described(settings.name or str(served.get("root") or self._served_name), self.where, reporter)
        self.tokenizer, self.fingerprint, self.origin = model.tokenizer, model.fingerprint, model.origin
        self.name = model.name if served.get("root") == self._served_name else self._served_name
        self.n_layers, self.width = model.n_layers, model.width
        self.dtype = ""
        hidden_LTD = self._hidden(np.zeros(1, np.int32), (0,))
        self.dtype = str(hidden_LTD.dtype).removeprefix("torch.")
        if settings.dtype not in ("auto", self.dtype):
            raise ModelError(
                f"{self.where}: computes in {self.dtype}, and {settings.dtype} is asked for. "
                f"Leave --dtype out, or start the server with --dtype {settings.dtype}."
            )
        fits = served.get("max_model_len")
        # vLLM wants room for the token that it would write next.
        self.context_length = fits - 1 if isinstance(fits, int) else None
        self.about = f"{self.name} in {self.dtype} by the vLLM server at {self.where} (the server's own type)"

    def batches(self, groups: Sequence[Sequence[Conversation]], token_budget: int | None = None) -> Batches:
        """See `Reader`. The server batches as it pleases, so the last bits may differ from time to time."""
        return send_in_order(groups, token_budget, "to the vLLM server")

    def read(self, conversations: Sequence[Conversation], wanted: Wanted) -> list[Pooled]:
        """See `Reader`."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(lambda each: self._read(each, wanted), conversations))

    def close(self) -> None:
        """Close the connection; the server stays up."""
        self._client.close()

    def _read(self, conversation: Conversation, wanted: Wanted) -> Pooled:
        hidden_LTD = self._hidden(conversation.ids_T, wanted.layers)
        sums = Sums([conversation], pack([conversation.ids_T]), 0, wanted, self.width, hidden_LTD.dtype)
        sums.begin((0, len(conversation.ids_T)))
        for layer, hidden_TD in zip(wanted.layers, hidden_LTD, strict=True):
            sums.add(layer, hidden_TD[None])
        sums.end()
        return sums.pooled()[0]

    def _hidden(self, ids_T: np.ndarray, layers: Sequence[int]) -> torch.Tensor:
        asked = {
            "model": self._served_name,
            "prompt": ids_T.tolist(),
            "max_tokens": 1,
            "temperature": 0,
            # vllm-lens computes a cached beginning anew for such a request: cached tokens have no residual stream.
            "vllm_xargs": {"output_residual_stream": json.dumps(list(layers)), "activations_transport": "binary"},
        }
        answer = self._exchange("POST", "/completions", asked)
        entry = (answer.get("activations") or {}).get("residual_stream")
        if entry is None:
            raise ModelError(
                f"{self.where}: answers without activations. The server needs vllm-lens in its environment, and must "
                "be started without VLLM_LENS_DISABLE (for scripts/local-vllm: start --lens)."
            )
        try:
            return self._decoded(entry, (len(layers), len(ids_T), self.width))
        except (LookupError, TypeError, ValueError, AttributeError, zstandard.ZstdError) as error:
            raise ModelError(
                f"{self.where}: its activations cannot be read ({type(error).__name__}: {error}). "
                "Is it vllm-lens 1.3 or newer?"
            ) from error

    def _decoded(self, entry: dict[str, Any], shape: tuple[int, ...]) -> torch.Tensor:
        told = entry.get("original_dtype")
        if tuple(entry["shape"]) != shape or told not in _TYPES or entry.get("compression") != "zstd":
            raise ModelError(
                f"{self.where}: returned activations of the shape {tuple(entry['shape'])} and the type {told}, "
                f"expected {shape} (layers, tokens, width). Is it the model whose files are read here ({self.name})?"
            )
        data = self._bytes(entry)
        kind = np.dtype(entry["dtype"])
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=math.prod(shape) * kind.itemsize)
        values = torch.from_numpy(np.frombuffer(bytearray(raw), kind).reshape(shape))
        return values.view(torch.bfloat16) if told == "torch.bfloat16" else values

    def _bytes(self, entry: dict[str, Any]) -> bytes:
        """The tensor's bytes: in the answer, or (from vllm-lens 1.3 on) behind a handle."""
        if "handle" not in entry:
            return base64.b64decode(entry["data"])
        return self._send("GET", f"/activations/{entry['handle']}").content

    def _exchange(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            answer = self._send(method, path, body).json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ModelError(f"{self.where}{path}: answers with no JSON object, so it is no vLLM server.")
        return answer

    def _send(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        try:
            response = self._client.request(method, path, json=body)
        except httpx2.HTTPError as error:
            raise ModelError(
                f"{self.where}: cannot be reached ({error or type(error).__name__}). Check that the server is up."
            ) from None
        if response.status_code == 401:
            raise ModelError(f"{self.where}: refuses the key. Set {KEY_VARIABLE} to the one that the server wants.")
        if response.is_error:
            told = " ".join(response.text.split())[:600]
            raise ModelError(f"{self.where}{path}: refused with status {response.status_code}: {told}")
        return response


def open_server(settings: ModelSettings, reporter: Reporter) -> ServedReader:
    """Connect to the server that ``settings`` give the address of.

    Raises:
        ModelError: see `ServedReader`.
    """
    return ServedReader(settings, reporter)


def _chosen(told: dict[str, Any], name: str | None, where: str) -> dict[str, Any]:
    """The served model that is called ``name``, else the first."""
    models = [model for model in told.get("data") or [] if isinstance(model, dict) and "id" in model]
    if not models:
        raise ModelError(f"{where}/models: lists no model, so it is no vLLM server.")
    return next((model for model in models if model["id"] == name), models[0])


def _described(local: str, where: str, reporter: Reporter) -> Description:
    try:
        return describe(local, reporter)
    except ModelError as error:
        raise ModelError(
            f"{where}: the tokenizer of the model that it serves is not found here ({error}) "
            "Name its folder or hub id with model.name in a configuration."
        ) from error
