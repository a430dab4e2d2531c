"""How likely an answer is, against plain logits."""

import pytest
import torch

from steer_llama.lm.load import LanguageModel
from steer_llama.lm.score import answer_nll
from steer_llama.lm.tokens import AnswerTokens, encode_answer
from tests.lm.models import ARCHITECTURES, random_model

ANSWERS = [
    AnswerTokens((5, 9, 33, 7, 41), (), "", 0, 3),
    AnswerTokens((41, 12, 3, 60, 28, 17, 11, 50), (), "", 0, 2),
    AnswerTokens((28, 17), (), "", 0, 2),
    AnswerTokens((19, 20, 21), (), "", 0, 1),
]


def reference(model: LanguageModel, answer: AnswerTokens) -> float:
    """One by one, from the logits that the model itself returns, summed in float64."""
    with torch.no_grad():
        logits = model.hf(torch.tensor([answer.ids])).logits[0].double()
    log_p = torch.log_softmax(logits, dim=-1)
    return -sum(float(log_p[at - 1, answer.ids[at]]) for at in range(answer.response_start, len(answer.ids)))


@pytest.mark.parametrize("batch_size", [1, 3, 9])
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_equals_the_plain_logits(architecture: str, batch_size: int) -> None:
    model = random_model(architecture)
    model.hf.get_output_embeddings().weight.mul_(20)  # far from uniform, so that a wrong scale shows
    found = {index: (nats, n) for batch in answer_nll(model, ANSWERS, batch_size) for index, nats, n in batch}
    assert sorted(found) == [0, 1, 2, 3]
    for index, answer in enumerate(ANSWERS):
        nats, n = found[index]
        assert n == len(answer.ids) - answer.response_start
        assert nats == pytest.approx(reference(model, answer), rel=1e-4, abs=1e-4)
    assert found[2] == (0.0, 0)


def test_the_embedded_model_finds_sense_likelier_than_nonsense(smollm2: LanguageModel) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    answers = [
        encode_answer(smollm2.tokenizer, question, text)  # type: ignore[arg-type]
        for text in ("The capital of France is Paris.", "The capital of France is cheese.", "")
    ]
    found = {index: nats for batch in answer_nll(smollm2, answers, 4) for index, nats, _ in batch}
    assert found[0] < found[1] - 2
    assert found[2] == 0
