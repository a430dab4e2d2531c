"""``generate``: the way to an answer, whatever the model."""

from collections.abc import Iterator, Sequence

from steer_llama.config import Sampling
from steer_llama.lm.decoder import decoder_of
from steer_llama.lm.generation.continuous import write_continuously
from steer_llama.lm.generation.padded import write_padded
from steer_llama.lm.generation.rows import Generation, Row
from steer_llama.lm.load import LanguageModel
from steer_llama.lm.steering import Plan
from steer_llama.lm.tokens import check_context


def generate(
    model: LanguageModel, rows: Sequence[Row], sampling: Sampling, batch_size: int
) -> Iterator[list[tuple[int, Generation]]]:
    """Write an answer for every row, ``batch_size`` at a time; yields (index of the row, answer) as they are finished.

    A row's text depends on its prompt, its seed and its steering, and not on the other rows: on a CPU in float32 bit by
    bit where the blocks are fused (Llama, Mistral, Qwen2), elsewhere up to rounding.

    Raises:
        ContextLengthError: a prompt and its answer do not fit the model's context.
        LayerError: a layer that the model does not have.
        VectorError: a vector that does not fit the model.
        ConfigError: steering without sense (`lm.steering.Steering`).
        SteeringInactiveError: a layer that was to be steered was not.
    """
    for row in rows:
        check_context(
            len(row.prompt_ids) + sampling.max_tokens, model.context_length, "a prompt with room for its answer"
        )
    for row in rows:
        Plan(model, [row.steering])  # so that what does not fit is told before an hour's work, not after it
    decoder = decoder_of(model)
    if decoder is None:
        yield from write_padded(model, rows, sampling, batch_size)
    else:
        yield from write_continuously(model, decoder, rows, sampling, batch_size)
