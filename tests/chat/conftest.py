import pytest


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between tries, so that what is tested is how often and not how long."""
    monkeypatch.setattr("steer_llama.chat.retrying.FIRST_WAIT", 0.02)
