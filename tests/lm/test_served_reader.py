"""Reading a vLLM server over HTTP, with a stand-in that speaks vllm-lens's answers (tests/vllm has the real one)."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zstandard

from steer_llama.config import ExtractSettings, ModelSettings
from steer_llama.errors import ModelError
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.reading import Conversation, Reader, Wanted, open_reader
from steer_llama.lm.reading.alone import read_alone
from steer_llama.lm.reading.served import KEY_VARIABLE
from steer_llama.progress import SilentReporter
from tests.lm.models import save_tiny_llama

IDS = np.array([5, 9, 33, 7, 41, 12, 3, 60, 28, 17, 11, 50], np.int32)


@dataclass
class Lens:
    """A server with a real tiny model, and what it is to do wrong."""

    model: LanguageModel
    root: str
    binary: bool = True
    dtype: torch.dtype = torch.float32
    key: str | None = None
    lens: bool = True
    extra_layer: bool = False
    url: str = ""
    parked: dict[str, bytes] = field(default_factory=dict)
    reading: Any = field(default_factory=threading.Lock)

    def models(self) -> dict[str, Any]:
        others = {"id": "an-adapter", "root": "elsewhere", "max_model_len": 64}
        return {"data": [{"id": "tiny", "root": self.root, "max_model_len": 200}, others]}

    def completion(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["model"] == "tiny"
        assert asked["max_tokens"] == 1
        answer: dict[str, Any] = {"choices": [{"text": "x"}]}
        if not self.lens:
            return answer
        layers = json.loads(asked["vllm_xargs"]["output_residual_stream"]) + ([0] if self.extra_layer else [])
        ids_T = np.array(asked["prompt"], np.int32)
        whole = Conversation(ids_T, np.ones((1, len(ids_T)), bool))
        with self.reading:  # the hooks of two readings would mix
            tokens_LTD = read_alone(self.model, whole, Wanted((0, 1, 2), tokens=True)).tokens_LTD
        assert tokens_LTD is not None
        hidden_LTD = tokens_LTD[layers].to(self.dtype)
        # As vllm-lens does it: numpy has no bfloat16.
        array = (hidden_LTD.view(torch.int16) if self.dtype == torch.bfloat16 else hidden_LTD).numpy()
        data = zstandard.ZstdCompressor().compress(array.tobytes())
        entry: dict[str, Any] = {"dtype": str(array.dtype), "original_dtype": str(self.dtype)}
        entry |= {"shape": array.shape, "compression": "zstd"}
        if self.binary:
            assert asked["vllm_xargs"]["activations_transport"] == "binary"
            handle = f"h{len(self.parked)}-{threading.get_ident()}"
            self.parked[handle] = data
            entry |= {"handle": handle, "nbytes": len(data), "transport": "binary"}
        else:
            entry["data"] = base64.b64encode(data).decode()
        return {**answer, "activations": {"residual_stream": entry}}


@pytest.fixture
def lens(tmp_path: Path, tiny_llama: LanguageModel) -> Iterator[Lens]:
    lens = Lens(tiny_llama, str(save_tiny_llama(tmp_path / "tiny")))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/v1/models":
                self.answer(json.dumps(lens.models()).encode())
            elif self.path.startswith("/v1/activations/"):
                self.answer(lens.parked.pop(self.path.rpartition("/")[2]))
            else:
                self.answer(b"<html>no such page</html>", 404)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if len(asked["prompt"]) > 100:
                self.answer(b'{"error": {"message": "too many tokens"}}', 400)
            else:
                self.answer(json.dumps(lens.completion(asked)).encode())

        def answer(self, body: bytes, status: int = 200) -> None:
            if lens.key and self.headers.get("Authorization") != f"Bearer {lens.key}":
                body, status = b"{}", 401
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    lens.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield lens
    server.shutdown()
    server.server_close()
    thread.join()


def opened(where: str, **settings: object) -> Reader:
    model = ModelSettings.model_validate({"path": where, **settings})
    return open_reader(model, ExtractSettings(backend="vllm"), SilentReporter())


def conversation(ids: np.ndarray = IDS) -> Conversation:
    position = np.arange(len(ids))
    return Conversation(ids, np.stack([position >= 4, position == 7, position < 0]))


@pytest.mark.parametrize("binary", [True, False])
def test_it_equals_the_model_read_here(lens: Lens, binary: bool) -> None:
    lens.binary = binary
    reader = opened(lens.url + "/")
    facts = (reader.name, reader.dtype, reader.n_layers, reader.width, reader.context_length)
    assert facts == ("tiny", "float32", 3, 32, 199)
    assert reader.fingerprint == lens.model.fingerprint, "the same files, whoever reads them"
    group = [conversation(IDS[:length]) for length in (12, 5, 9, 7, 8, 11)]
    assert reader.batches([group]).groups == ((0,),)
    wanted = Wanted((0, 2), tokens=True)
    for asked, found in zip(group, reader.read(group, wanted), strict=True):
        expected = read_alone(lens.model, asked, wanted)
        np.testing.assert_allclose(found.mean_PLD, expected.mean_PLD, atol=1e-5)
        np.testing.assert_allclose(found.norm_L, expected.norm_L, rtol=1e-5)
        assert found.tokens_LTD is not None
        assert expected.tokens_LTD is not None
        assert torch.equal(found.tokens_LTD, expected.tokens_LTD)
    reader.close()
    assert not lens.parked


def test_bfloat16_arrives_bit_by_bit(lens: Lens) -> None:
    lens.dtype = torch.bfloat16
    reader = opened(lens.url)
    found = reader.read([conversation()], Wanted((1,), tokens=True))[0].tokens_LTD
    expected = read_alone(lens.model, conversation(), Wanted((1,), tokens=True)).tokens_LTD
    assert reader.dtype == "bfloat16"
    assert found is not None
    assert expected is not None
    assert torch.equal(found, expected.to(torch.bfloat16))
    with pytest.raises(ModelError, match="computes in bfloat16, and float32 is asked for"):
        opened(lens.url, dtype="float32")


def test_the_tokenizer_is_taken_from_where_it_is_named(lens: Lens) -> None:
    here, lens.root = lens.root, "/on/another/machine"
    with pytest.raises(ModelError, match=r"tokenizer of the model that it serves is not found here .*model\.name"):
        opened(lens.url)
    assert opened(lens.url, name=here).fingerprint == lens.model.fingerprint


def test_a_server_without_vllm_lens(lens: Lens) -> None:
    lens.lens = False
    with pytest.raises(ModelError, match=r"answers without activations.*VLLM_LENS_DISABLE"):
        opened(lens.url)


def test_another_model_than_the_files_are_of(lens: Lens) -> None:
    lens.extra_layer = True
    with pytest.raises(ModelError, match=r"shape \(2, 1, 32\).*expected \(1, 1, 32\)"):
        opened(lens.url)


def test_a_refused_conversation(lens: Lens) -> None:
    reader = opened(lens.url)
    with pytest.raises(ModelError, match=r"refused with status 400: .*too many tokens"):
        reader.read([conversation(np.arange(150, dtype=np.int32) % 60)], Wanted((0,)))


def test_the_key(lens: Lens, monkeypatch: pytest.MonkeyPatch) -> None:
    lens.key = "a-secret"
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(ModelError, match=r"refuses the key\. Set VLLM_API_KEY"):
        opened(lens.url)
    monkeypatch.setenv(KEY_VARIABLE, "a-secret")
    assert opened(lens.url).n_layers == 3


def test_no_server_and_another_server(lens: Lens) -> None:
    with pytest.raises(ModelError, match="cannot be reached"):
        opened("http://127.0.0.1:1/v1")
    with pytest.raises(ModelError, match=r"/models: refused with status 404"):
        opened(lens.url + "/other")
    with pytest.raises(ModelError, match="is no address"):
        opened("http://[::1/v1")


@pytest.mark.parametrize(
    "entry", [{}, {"shape": 3}, {"shape": [1, 1, 32]}, {"shape": [1, 1, 32], "original_dtype": "torch.float32"}, []]
)
def test_activations_in_another_form(lens: Lens, monkeypatch: pytest.MonkeyPatch, entry: object) -> None:
    reader = opened(lens.url)
    monkeypatch.setattr(reader, "_exchange", lambda *_: {"activations": {"residual_stream": entry}})
    with pytest.raises(ModelError, match=r"vllm-lens 1\.3|of the shape"):
        reader.read([conversation(np.array([5], np.int32))], Wanted((0,)))
