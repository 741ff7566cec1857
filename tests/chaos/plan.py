"""What is to go wrong in a round, drawn from a seed: the same seed gives the same plan."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from sandbox.faults import Fault, FaultBody, Kind

READ_SECONDS = 3.0
"""How long the chaos' connection waits for an answer; see the world."""


class Strike(StrEnum):
    """What is done to processes and databases."""

    KILL_TASK = "kill -9 of the task"
    KILL_SUPERVISOR = "kill -9 of the task's supervisor"
    KILL_SCHEDULER = "kill -9 of the scheduler"
    KILL_SCHEDULER_AND_TASKS = "kill -9 of the scheduler with all its tasks"
    KILL_API_SERVER = "kill -9 of the API server"
    SUSPEND_TASK = "suspended task, woken after its lease was lost"
    SUSPEND_BOTH = "suspended task and supervisor, woken after the lease was lost"
    RESTART_WAREHOUSE = "source and warehouse stopped fast"
    CRASH_WAREHOUSE = "source and warehouse stopped at once"
    RESTART_METADATA = "Airflow's database stopped fast"
    CRASH_METADATA = "Airflow's database stopped at once"
    CLEAR = "task cleared while it runs"


@dataclass(frozen=True, slots=True)
class Action:
    """One strike.

    :param after: attempts that are to be made in the round before; 0 strikes whatever task runs first.
    :param pause: seconds until what was killed or stopped is started again.
    """

    strike: Strike
    after: int
    pause: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One round.

    :param fresh: trainings that the nightly run reads.
    :param older: trainings of a past day, which only a backfill beside the nightly run reads. None when that
        backfill comes by a strike.
    :param sizes: bytes of each training's document.
    :param faults: what the server does, the first that is due for each request.
    """

    number: int
    fresh: int
    older: int
    sizes: tuple[int, ...]
    faults: tuple[Fault, ...]
    actions: tuple[Action, ...]


def draw(seed: int, number: int) -> Plan:
    """Draw a round. In as many rounds as there are strikes, each comes once at least."""
    order = list(Strike)
    random.Random(seed).shuffle(order)
    chance = random.Random(f"{seed}:{number}")
    fresh, older = chance.randint(25, 45), chance.choice((0, chance.randint(10, 20)))
    strikes = [order[number % len(order)]]
    if chance.random() < 0.5:
        strikes.append(chance.choice(order))
    if Strike.SUSPEND_TASK in strikes:
        older = 0
    progress = sorted(chance.randint(0, 20) for _ in strikes)
    return Plan(
        number=number,
        fresh=fresh,
        older=older,
        sizes=tuple(_size(chance) for _ in range(fresh + older)),
        faults=tuple(_faults(chance)),
        actions=tuple(
            Action(strike, after, round(chance.uniform(0.0, 3.0), 1))
            for strike, after in zip(strikes, progress, strict=True)
        ),
    )


def _size(chance: random.Random) -> int:
    """Most documents are small; some are large enough that a process dies in the middle of their body."""
    return chance.choices((2_000, 40_000, 400_000, 6_000_000), weights=(4, 4, 2, 1))[0]


def _faults(chance: random.Random) -> list[Fault]:
    drawn = [
        make(chance, chance.randint(0, 25), chance.randint(1, 3))
        for make in chance.sample(_ON_POST, chance.randint(1, 4))
    ]
    if chance.random() < 0.4:
        kind = chance.choice((Kind.STATUS, Kind.CLOSE_BEFORE_BODY, Kind.TRUNCATED, Kind.HTML))
        drawn.append(Fault(kind, method="GET", skip=chance.randint(0, 2)))
    # Last, since the first that is due happens: answers take so long that there is something to interrupt.
    drawn.append(
        Fault(
            Kind.SLOW,
            times=None,
            probability=0.8,
            seed=chance.randrange(1_000),
            seconds=round(chance.uniform(0.1, 0.6), 2),
        )
    )
    return drawn


def _plain(kind: Kind) -> Callable[[random.Random, int, int], Fault]:
    return lambda chance, skip, times: Fault(kind, skip=skip, times=times, reset=chance.random() < 0.5)


def _status(*choices: tuple[int, str | None], kind: Kind = Kind.STATUS) -> Callable[..., Fault]:
    def make(chance: random.Random, skip: int, times: int) -> Fault:
        status, retry_after = chance.choice(choices)
        body = chance.choice(list(FaultBody))
        return Fault(kind, skip=skip, times=times, status=status, retry_after=retry_after, body=body)

    return make


def _late(kind: Kind) -> Callable[[random.Random, int, int], Fault]:
    return lambda chance, skip, times: Fault(kind, skip=skip, times=times, seconds=chance.uniform(1.0, 9.0))


_ON_POST: list[Callable[[random.Random, int, int], Fault]] = [
    _plain(Kind.CLOSE_BEFORE_BODY),
    _plain(Kind.CLOSE_MIDWAY),
    _plain(Kind.CLOSE_BEFORE_STORING),
    _plain(Kind.CLOSE_AFTER_STORING),
    _plain(Kind.TRUNCATED),
    _plain(Kind.CUT_SHORT),
    _plain(Kind.HTML),
    _status((500, None), (502, None), (503, "1"), (504, None)),
    _status((429, "1"), (429, "2")),
    _status((422, None), (400, None)),
    _status((500, None), (503, "1"), kind=Kind.STATUS_AFTER_STORING),
    _late(Kind.STORE_LATE),
    _late(Kind.STATUS_THEN_STORED),
    lambda chance, skip, times: Fault(
        Kind.SLOW, skip=skip, times=times, seconds=READ_SECONDS + chance.uniform(0.5, 3)
    ),
    lambda chance, skip, times: Fault(
        Kind.SLOW_TO_READ, skip=skip, times=times, seconds=chance.uniform(0.5, 5)
    ),
    lambda chance, skip, times: Fault(Kind.TRICKLED, skip=skip, times=times, seconds=chance.uniform(0.5, 5)),
]
