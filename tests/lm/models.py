"""Tokenizers of the known kinds and tiny models with random weights, made on the spot."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from steer_llama.lm.load import LanguageModel
from tests.lm.templates import CHATML

SPECIALS = ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>"]
SPECIALS += ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<bos>"]
_CORPUS = ["hello world 😀 party 🎉🎉 family 👨‍👩‍👧 flags 🇫🇷 🇩🇪 done"] * 20
_CORPUS += ["user\n\nassistant\nmodel system the quick brown fox\n\njumps.\n", "a\n\n\nb  c   d"] * 10


def byte_level(vocabulary: int = 420, *, trim_offsets: bool = False, template: str | None = CHATML) -> Any:
    """Byte-level BPE as GPT-2, Llama 3, Qwen and SmolLM have it; merges a space with an emoji's first bytes."""
    tokenizer = Tokenizer(models.BPE())
    # Llama 3's words and Qwen's: line ends stay together, whatever follows.
    words = pre_tokenizers.Split(Regex(r" ?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIALS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return _fast(tokenizer, template)


def sentencepiece_like(*, metaspace: bool, template: str | None = CHATML) -> Any:
    """BPE with byte fallback, as Llama 2, Mistral and Gemma have it; knows 😀 and no other emoji."""
    pieces = ["<unk>", *SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += sorted(set("▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!.,😀"))
    merges = [("▁", "h"), ("▁h", "e"), ("l", "l"), ("t", "h"), ("▁", "😀")]
    pieces += [left + right for left, right in merges]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    )
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(SPECIALS)
    return _fast(tokenizer, template)


def _fast(tokenizer: Tokenizer, template: str | None) -> Any:
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="<|im_end|>")
    fast.chat_template = template
    return fast


def save_tiny_llama(folder: Path, *, seed: int = 0, template: str | None = CHATML, width: int = 32) -> Path:
    """Save a Llama with random weights; large ones, so that its answers are various."""
    tokenizer = byte_level(template=template)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


_SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GPT2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "bos_token_id": 1}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": _SHAPE,
    "qwen2": {**_SHAPE, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "qwen3": _SHAPE,
    "gemma2": {**_SHAPE, "sliding_window": 8, "final_logit_softcapping": 3.0},
    "gemma3_text": {**_SHAPE, "sliding_window": 8},
    "mistral": {**_SHAPE, "sliding_window": 8},
    "phi3": {**_SHAPE, "sliding_window": 8},
    "gpt2": _GPT2,
    "gpt_neox": _SHAPE,
    "olmo": _SHAPE,
    "olmo2": _SHAPE,
    "mixtral": {**_SHAPE, "num_local_experts": 4},
    "cohere": {**_SHAPE, "logit_scale": 0.3},
    "granite": {**_SHAPE, "logits_scaling": 4.0},
    "llama4_text": {**_SHAPE, "num_local_experts": 2, "intermediate_size_mlp": 32},
    "gemma3": {
        "text_config": {**_SHAPE, "sliding_window": 8},
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
    },
}


def random_model(architecture: str, **settings: Any) -> LanguageModel:
    """Random weights of an architecture, without a tokenizer."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **ARCHITECTURES[architecture], **settings)
    hf = AutoModelForCausalLM.from_config(config).eval().requires_grad_(requires_grad=False)
    return LanguageModel(hf, None, architecture, "", "")
