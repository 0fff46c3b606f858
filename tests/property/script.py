"""What the clients of a seed want, and who disturbs them."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.property.model import Ask, Step

SOURCE = 7
GAMES = ("dice", "dice", "slots", "roulette")
OFF = "switched-off"


def sessions_of(wallet: int) -> tuple[str, ...]:
    """Return the game sessions of a wallet."""
    return tuple(f"00000000-0000-0000-0000-{wallet:06d}{number:06d}" for number in range(2))


class Script:
    """What the clients of a seed want; each line is a chain of asks that one client sends in order."""

    def __init__(self, rng: Random, wallets: int) -> None:
        self._rng = rng
        self._wallets = wallets
        self._number = 0

    def ref(self, kind: str) -> str:
        self._number += 1
        return f"{kind}{self._number}"

    def amount(self) -> int:
        return self._rng.choice((1, 2, 3, 7, 10, 33, 50, 100, 999))

    def lines(self, count: int) -> list[list[Ask]]:
        makers = (self.round, self.round, self.round, self.play, self.withdrawal, self.money, self.late_bet)
        makers += (self.debt, self.odd, self.bonus)
        return [self._rng.choice(makers)(self._rng.randrange(1, self._wallets + 1)) for _ in range(count)]

    def ask(self, wallet: int, *steps: Step, **more: Any) -> Ask:
        return Ask(wallet, SOURCE, steps, **more)

    def round(self, wallet: int) -> list[Ask]:
        """Bets, wins and rollbacks of one round, sometimes in the wrong order."""
        rng, name = self._rng, self.ref("round")
        game = rng.choice(GAMES)
        session = rng.choice(("", *sessions_of(rng.choice((wallet, wallet, wallet, wallet, 1)))))
        line: list[Ask] = []
        bets: list[str] = []
        wins: list[str] = []
        for _ in range(rng.randrange(1, 4)):
            steps: list[Step] = []
            if not bets or rng.random() < 0.4:
                bets.append(self.ref("bet"))
                steps.append(Step("bet", bets[-1], self.amount()))
            if rng.random() < 0.5:
                wins.append(self.ref("win"))
                steps.append(Step("win", wins[-1], self.amount()))
            if steps:
                finished = rng.random() < 0.2
                line.append(self.ask(wallet, *steps, round=name, finished=finished, session=session, game=game))
        if rng.random() < 0.5:
            targets = rng.sample(bets + wins, rng.randrange(1, len(bets + wins) + 1))
            steps = [Step("rollback", self.ref("back"), 0, target) for target in targets]
            if rng.random() < 0.2:
                steps.append(Step("rollback", self.ref("back"), 0, targets[0]))
            line.append(self.ask(wallet, *steps, round=name))
            if rng.random() < 0.3:
                line.append(self.ask(wallet, Step("rollback", self.ref("back"), 0, targets[0]), round=name))
        if rng.random() < 0.3:
            line.append(self.ask(wallet, round=name, finished=True))
        if rng.random() < 0.2:
            line.append(
                self.ask(wallet, Step("bet", self.ref("bet"), self.amount()), round=name, session=session, game=game)
            )
        if rng.random() < 0.3:
            rng.shuffle(line)
        return line

    def play(self, wallet: int) -> list[Ask]:
        """Several movements in one request, refused whole when one is."""
        rng, name = self._rng, self.ref("round")
        first, second = self.ref("bet"), self.ref("bet")
        steps = [Step("bet", first, self.amount()), Step("win", self.ref("win"), self.amount())]
        steps.append(Step("bet", second, rng.choice((5, 40, 180, 900, 5000))))
        if rng.random() < 0.3:
            steps.append(Step("rollback", self.ref("back"), 0, first))
        line = [self.ask(wallet, *steps, round=name)]
        if rng.random() < 0.5:
            line.append(self.ask(wallet, *steps[:2], round=name))
        if rng.random() < 0.3:
            line.append(self.ask(wallet, *steps, Step("win", self.ref("win"), 3), round=name))
        return line

    def withdrawal(self, wallet: int) -> list[Ask]:
        rng, hold = self._rng, self.ref("hold")
        amount = self.amount()
        if rng.random() < 0.2:
            steps = [Step("hold", hold, amount), Step("capture", self.ref("capture"), max(1, amount // 2), hold)]
            steps += [Step("void", self.ref("void"), 0, hold)] if rng.random() < 0.5 else []
            return [self.ask(wallet, *steps)]
        line = [self.ask(wallet, Step("hold", hold, amount))]
        parts = [part for part in (amount // 3, amount // 2) if part and rng.random() < 0.6]
        line += [self.ask(wallet, Step("capture", self.ref("capture"), part, hold)) for part in parts]
        if rng.random() < 0.6:
            line.append(self.ask(wallet, Step("void", self.ref("void"), 0, hold)))
        if rng.random() < 0.3:
            line.append(self.ask(wallet, Step("capture", self.ref("capture"), amount, hold)))
        if rng.random() < 0.2:
            rng.shuffle(line)
        return line

    def money(self, wallet: int) -> list[Ask]:
        rng, line = self._rng, list[Ask]()
        if rng.random() < 0.2:
            amount = self.amount()
            steps = [Step("award", self.ref("award"), amount), Step("bet", self.ref("bet"), self.amount() + amount)]
            line.append(self.ask(wallet, *steps))
        for op in rng.sample(("deposit", "award", "adjustment", "award_forfeit"), 2):
            amount = self.amount() * (-1 if rng.random() < (0.5 if op == "adjustment" else 0.03) else 1)
            line.append(self.ask(wallet, Step(op, self.ref(op), amount)))
        return line

    def bonus(self, wallet: int) -> list[Ask]:
        """An award that is played with, asked about, and played with again."""
        rng, name, amount = self._rng, self.ref("round"), self._rng.choice((10, 33, 100))
        bets = [Step("bet", self.ref("bet"), rng.choice((amount, amount // 2, 1, 1000))) for _ in range(3)]
        line = [self.ask(wallet, Step("award", self.ref("award"), amount)), self.ask(wallet, bets[0], round=name)]
        line += [self.ask(wallet), self.ask(wallet, Step("win", self.ref("win"), self.amount()), round=name)]
        line.append(self.ask(wallet, bets[1], round=name))
        if rng.random() < 0.5:
            line.append(self.ask(wallet, Step("rollback", self.ref("back"), 0, bets[0].ref), round=name))
        return [*line, self.ask(wallet, bets[2]), self.ask(wallet)]

    def debt(self, wallet: int) -> list[Ask]:
        """A win that is rolled back when it is spent, and money that comes in afterwards."""
        name, win = self.ref("round"), self.ref("win")
        line = [self.ask(wallet, Step("bet", self.ref("bet"), 1), Step("win", win, 999), round=name)]
        line += [self.ask(wallet, Step("bet", self.ref("bet"), amount)) for amount in (999, 500, 500, 100)]
        line.append(self.ask(wallet, Step("rollback", self.ref("back"), 0, win), round=name))
        return [
            *line,
            self.ask(wallet, Step(self._rng.choice(("deposit", "adjustment")), self.ref("in"), self.amount())),
        ]

    def late_bet(self, wallet: int) -> list[Ask]:
        """A rollback that overtakes its bet."""
        name, bet = self.ref("round"), self.ref("bet")
        back = self.ask(wallet, Step("rollback", self.ref("back"), 0, bet), round=name)
        late = self.ask(wallet, Step("bet", bet, self.amount()), round=name)
        other = self.ask(wallet, Step("bet", self.ref("bet"), self.amount()), round=name)
        return [back, late] if self._rng.random() < 0.5 else [other, back, late]

    def odd(self, wallet: int) -> list[Ask]:
        """Misuse: one reference for two things, another wallet's bet, a switched-off game, a request that breaks."""
        rng, name, bet = self._rng, self.ref("round"), self.ref("bet")
        amount, stranger = self.amount(), wallet % self._wallets + 1
        kind = rng.randrange(7)
        if kind == 0:
            return [
                self.ask(wallet, Step("bet", bet, amount), round=name),
                self.ask(wallet, Step("bet", bet, amount + 1), round=name),
            ]
        if kind == 1:
            return [self.ask(wallet, Step("bet", bet, amount)), self.ask(stranger, Step("bet", bet, amount))]
        if kind == 2:
            return [
                self.ask(wallet, Step("bet", bet, amount)),
                self.ask(stranger, Step("rollback", self.ref("back"), 0, bet)),
            ]
        if kind == 3:
            return [self.ask(wallet, Step("bet", bet, amount), round=name, game=OFF)]
        if kind == 4:
            return [self.ask(wallet, Step("bet", bet, amount), round=name, session_ok=False)]
        if kind == 5:
            return [
                self.ask(wallet, Step("bet", bet, amount), round=name),
                self.ask(wallet, Step("rollback", self.ref("back"), 0, bet), round=self.ref("round")),
            ]
        return [self.ask(wallet, Step("deposit", self.ref("poison"), amount))]
