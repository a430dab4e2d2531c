"""What may still be spent on chat models, shared by everything that asks."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from steer_llama.config import BudgetSettings, Price
from steer_llama.errors import BudgetError
from steer_llama.records import ChatReply


@dataclass
class Spending:
    """Calls, tokens and money."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def plus(self, other: "Spending", times: int = 1) -> "Spending":
        """The sum, or with ``times`` −1 the difference."""
        return Spending(
            self.calls + times * other.calls, self.tokens + times * other.tokens, self.cost + times * other.cost
        )

    def __str__(self) -> str:
        cost = f", {self.cost:.4g} of money" if self.cost else ""
        return f"{self.calls} calls, {self.tokens} tokens{cost}"


def cost_of(price: Price | None, prompt_tokens: int, completion_tokens: int) -> float | None:
    """What a call costs; ``None`` without a price."""
    return None if price is None else (price.input * prompt_tokens + price.output * completion_tokens) / 1e6


def spent_on(replies: Iterable[ChatReply]) -> Spending:
    """What the replies of earlier runs have cost."""
    spent = Spending()
    for reply in replies:
        spent = spent.plus(Spending(reply.calls, reply.tokens, reply.cost or 0.0))
    return spent


@dataclass
class Budget:
    """Lets calls through as long as they fit; safe to use from many threads.

    A call reserves the most that it may use (its whole prompt and answer) and gives back what it did not use. So the
    limits hold however many calls are under way, and near the end calls wait for one another.
    """

    settings: BudgetSettings = field(default_factory=BudgetSettings)
    spent: Spending = field(default_factory=Spending)
    """By finished calls, those of earlier runs included."""

    def __post_init__(self) -> None:
        self._reserved = Spending()
        self._changed = threading.Condition()

    def reserve(self, most: Spending) -> None:
        """Wait until a call that uses at most ``most`` fits, and set that aside.

        Raises:
            BudgetError: it does not fit, even when all calls under way have used nothing.
        """
        with self._changed:
            while True:
                if self._too_much(self.spent.plus(most)):
                    raise BudgetError(self._refusal(most))
                if not self._too_much(self.spent.plus(self._reserved).plus(most)):
                    break
                self._changed.wait()
            self._reserved = self._reserved.plus(most)

    def settle(self, most: Spending, used: Spending) -> None:
        """Put what a call really used in the place of what was set aside for it."""
        with self._changed:
            self._reserved = self._reserved.plus(most, -1)
            self.spent = self.spent.plus(used)
            self._changed.notify_all()

    def _limits(self, spending: Spending) -> list[tuple[str, float, float | None]]:
        settings = self.settings
        return [
            ("max_calls", spending.calls, settings.max_calls),
            ("max_tokens", spending.tokens, settings.max_tokens),
            ("max_cost", spending.cost, settings.max_cost),
        ]

    def _too_much(self, spending: Spending) -> bool:
        return any(limit is not None and value > limit * (1 + 1e-9) for _, value, limit in self._limits(spending))

    def _refusal(self, most: Spending) -> str:
        name, _, limit = next(
            (name, value, limit)
            for name, value, limit in self._limits(self.spent.plus(most))
            if limit is not None and value > limit
        )
        wanted = {"max_calls": most.calls, "max_tokens": most.tokens, "max_cost": most.cost}[name]
        return (
            f"the budget ends here: budget.{name} is {limit:g}, {self.spent} are spent, and the next call may need "
            f"{wanted:.4g}. What arrived is kept. Raise budget.{name} and run the same command again to go on."
        )
