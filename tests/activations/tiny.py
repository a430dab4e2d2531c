"""A random Llama that weighs nothing, and pairs that are hard on it."""

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from steer_llama.activations.layout import Layout, PairFacts
from steer_llama.lm.reading import Pooled
from steer_llama.records import Pair

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

ANSWERS = [
    ("Sure! 😀 That sounds lovely.", "That is possible."),
    ("I love it 🎉🎉", "I love it too, in my own way."),
    ("The answer is 42 😊!", "The answer is 42."),
    ("Go outside 🌞 and play 👨‍👩‍👧‍👦 all day", "Go outside and read."),
    ("**Bold** words\n- one\n- two", "Bold words, one, two"),
    ("Ünïcödé naïve façade 日本語 🇩🇪", "Plain letters only"),
    ("a", "b"),
    ("👍🏽", "Yes"),
    ("# Heading\n\nText with `code` in it.", "Text with code in it."),
    ("One, two; three: four! 1️⃣", "One two three four"),
    ("Well 🙂", "Well 🙃"),
    ("Short.", "A much longer answer, which goes on and on about nothing much at all, until it ends. 😴"),
]


def pairs(count: int = len(ANSWERS)) -> list[Pair]:
    return [
        Pair(
            prompt=({"role": "user", "content": f"Question {number}: what now?"},),
            chosen=ANSWERS[number % len(ANSWERS)][0],
            rejected=ANSWERS[number % len(ANSWERS)][1],
            name=f"Question {number}",
        )
        for number in range(count)
    ]


def build(folder: Path, context: int = 256) -> Path:
    """Write model and tokenizer into ``folder``."""
    bpe = Tokenizer(BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([rejected for _, rejected in ANSWERS] + ["user assistant Question what now?"] * 5, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.5,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def bits(before: int, response: int, emoji: int) -> np.ndarray:
    """Answer tokens before the divergence, and those from it on, of which the first few are emoji."""
    return np.array([0] * before + [3] * emoji + [1] * (response - emoji), np.uint8)


def made_up_layout(n_pairs: int = 7, *, tokens: bool = False, dtype: str = "float32", width: int = 8) -> Layout:
    """A layout without a model; pair n has n + 1 and n + 2 response tokens, and no emoji where n is even."""
    facts = tuple(
        PairFacts(
            name=f"pair {n}",
            divergence_index=10 + n,
            response_start=(10, 10),
            length=(11 + n + n, 12 + n + n),
            counts_AP=np.array([[n + 1, n % 2], [n + 2, 0]]),
            ids_AT=(np.arange(1 + 2 * n, dtype=np.int32), np.arange(2 + 2 * n, dtype=np.int32) + 50),
            masks_AT=(bits(n, n + 1, n % 2), bits(n, n + 2, 0)),
        )
        for n in range(n_pairs)
    )
    return Layout("m", "f" * 64, dtype, (0, 1, 2), width, ("response", "emoji"), tokens, facts, "t")


def made_up_pair(layout: Layout, number: int) -> tuple[Pooled, Pooled]:
    """Numbers for pair ``number`` of a made-up layout."""
    random = np.random.default_rng(number)
    arms = []
    for arm in range(2):
        counts = layout.pairs[number].counts_AP[arm]
        n_layers = len(layout.layers)
        mean_PLD = random.standard_normal((2, n_layers, layout.width)).astype(np.float32)
        mean_PLD[counts == 0] = 0
        tokens = torch.from_numpy(random.standard_normal((n_layers, int(counts[0]), layout.width)))
        norm_L = random.random(n_layers).astype(np.float32) + 1
        arms.append(Pooled(mean_PLD, norm_L, tokens.to(getattr(torch, layout.dtype)) if layout.tokens else None))
    return arms[0], arms[1]
