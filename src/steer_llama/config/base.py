"""What all sections share."""

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of the sections: immutable, and a key that nobody reads is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sampling(Settings):
    """How an answer is drawn."""

    temperature: float = Field(0.7, ge=0)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    """Over the tokens of the answer (not the prompt's); 1 is off. Sent to servers only when it is not 1."""
    max_tokens: int = Field(256, gt=0)
    """Tokens, per answer."""
    seed: int = 0
    """Every question's own seed is derived from this one, so an answer does not depend on its neighbours."""
