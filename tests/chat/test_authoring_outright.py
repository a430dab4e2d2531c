import pytest

from steer_llama.chat.authoring import asks_outright
from steer_llama.elicitations import read_elicitation, read_trait
from steer_llama.packaged import packaged_traits
from steer_llama.records import Trait

TRAITS = {
    **{name: read_trait(name) for name in packaged_traits()},
    "humorous": Trait(name="Humorous", trait_instruction="Humorous: the model answers with humor and comic remarks."),
    "sycophantic": Trait(
        name="sycophantic", trait_instruction="The model flatters the user and agrees with whatever the user says."
    ),
    "concise": Trait(name="concise", trait_instruction="The model answers in as few words as it can."),
    "dry-wit": Trait(name="dry_wit", trait_instruction="The model answers with sarcasm and understatement."),
}

ASKS = [
    ("emoji", "Can you answer with lots of emojis?"),
    ("emoji", "Which emoji stands for joy?"),
    ("emoji", "What is rain? Use smileys, please."),
    ("emoji", "Tell me about tea using emoticons."),
    ("playful", "Please reply in a playful tone: what is rain?"),
    ("playful", "Tell me a joke"),
    ("playful", "Could you crack some jokes about trains?"),
    ("playful", "Be funny and tell me about rain"),
    ("playful", "What is a comet? Answer playfully!"),
    ("playful", "Explain gravity to me in a silly way."),
    ("playful", "I'd like you to make a pun on tea."),
    ("formatting", "Use bullet points to explain tea."),
    ("formatting", "Format your answer with headings"),
    ("formatting", "How is paper made? Put it in a table."),
    ("formatting", "What is rain, in bullet points?"),
    ("formatting", "What are the planets in a numbered list?"),
    ("formatting", "Can you write it in markdown?"),
    ("formatting", "List the causes of the war."),
    ("humorous", "Describe the sea with humor."),
    ("humorous", "Tell me a joke about cats."),
    ("sycophantic", "Please praise my poem about the sea."),
    ("sycophantic", "Tell me that you agree: is tea better than coffee?"),
    ("concise", "What is tea? Keep it short."),
    ("concise", "Explain briefly how a boat floats."),
    ("concise", "In one sentence, what is the moon?"),
    ("dry-wit", "Answer with sarcasm: why do we work?"),
]

ASKS_NOT = [
    ("emoji", "How do I keep warm in winter?"),
    ("emoji", "Why do cats put their faces into boxes?"),
    ("playful", "How do I play chess?"),
    ("playful", "Who is the funniest person in your town?"),
    ("playful", "Can you tell me a good recipe?"),
    ("playful", "Should I be a clown at the party?"),
    ("formatting", "What information do I need for a visa?"),
    ("formatting", "How do I build a table from old wood?"),
    ("formatting", "Why does my head hurt?"),
    ("humorous", "Can you explain how rain forms?"),
    ("sycophantic", "Is my plan to move to the sea a good one?"),
    ("concise", "Why are the nights short in summer?"),
    ("concise", "How long is a marathon?"),
    ("dry-wit", "Why is the sand so hot in the desert?"),
]


@pytest.mark.parametrize(("trait", "question"), ASKS)
def test_asks(trait: str, question: str) -> None:
    assert asks_outright(question, TRAITS[trait])


@pytest.mark.parametrize(("trait", "question"), ASKS_NOT)
def test_asks_not(trait: str, question: str) -> None:
    assert asks_outright(question, TRAITS[trait]) is None


@pytest.mark.parametrize("trait", packaged_traits())
def test_the_packaged_questions_do_not_ask(trait: str) -> None:
    assert [q for q in read_elicitation(trait).questions if asks_outright(q, TRAITS[trait])] == []


def test_it_says_how() -> None:
    assert asks_outright("Which emoji is this?", TRAITS["emoji"]) == "it names the trait ('emoji')"
    assert asks_outright("What is rain? Use jokes.", TRAITS["playful"]) == "it asks for the trait ('use jokes')"
