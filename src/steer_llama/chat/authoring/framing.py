"""The evaluation prompt: the author describes the trait, and we put that into a frame whose replies can be read."""

from steer_llama.chat.judging import EXCHANGE
from steer_llama.records import Trait

FRAME = f"""\
Judge how strongly an answer shows one trait: {{trait}}.
{{description}}
{{ends}}
{EXCHANGE}

Look at this trait only: whether the answer is right, helpful or long does not matter.
Reply REFUSAL if the answer declines to respond to the user. Otherwise reply with a number from 0 (no sign of the \
trait) to 100 (as strong as it can be) and nothing else."""


def evaluation_prompt(trait: Trait, shows: str, low: str, high: str) -> str:
    """The prompt for a judge, with one ``{question}`` and one ``{answer}`` for what is judged.

    The trait's own instruction stands before what the author says, so that a poor author does not change the trait;
    a ``low`` and a ``high`` that say the same tell the judge nothing and are left out.
    """
    low, high = _ended(low), _ended(high)
    told_apart = low.casefold() != high.casefold()
    ends = f"An answer with little of it: {low}\nAn answer with much of it: {high}\n" if told_apart else ""
    parts = {
        "{trait}": trait.name,
        "{description}": f"{_ended(trait.trait_instruction)} {_ended(shows)}",
        "{ends}": ends,
    }
    prompt = FRAME
    for place, text in parts.items():
        prompt = prompt.replace(place, _without_braces(text))
    return prompt


def _ended(text: str) -> str:
    folded = " ".join(text.split())
    return folded if folded.endswith((".", "!", "?", "…")) else f"{folded}."


def _without_braces(text: str) -> str:
    # Nobody's braces but the frame's may be filled, and other people's tools fill with str.format.
    return text.replace("{", "(").replace("}", ")")
