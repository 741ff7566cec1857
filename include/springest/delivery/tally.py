"""What a delivering run has done so far, and how it says so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from springest.states import State


@dataclass(slots=True)
class Tally:
    """Counts of one run.

    :param outcomes: attempts by the state their delivery is in afterwards; ``ready`` was not taken.
    :param set_aside: deliveries whose document could not be sent.
    :param restaged: deliveries whose source row had changed or was gone.
    :param swept: deliveries that a dead worker left behind.
    :param taken_by_others: deliveries that another worker claimed first.
    """

    outcomes: Counter[State] = field(default_factory=Counter)
    set_aside: int = 0
    restaged: int = 0
    swept: int = 0
    taken_by_others: int = 0
    requests: int = 0

    @property
    def attempts(self) -> int:
        """POSTs that were started."""
        return self.outcomes.total()

    def describe(self) -> str:
        """Return the counts as one line for a log."""
        accepted = self.outcomes[State.ACCEPTED] + self.outcomes[State.ACCEPTED_NO_ID]
        return (
            f"{self.attempts} started, {accepted} accepted, {self.outcomes[State.REJECTED]} refused, "
            f"{self.outcomes[State.UNKNOWN]} unknown, {self.outcomes[State.READY]} not taken, "
            f"{self.set_aside} set aside, {self.restaged} changed in the source"
        )


@dataclass(frozen=True, slots=True)
class DeliverReport:
    """How a run ended.

    :param left: deliveries that are still in the queue.
    :param hours_left: how long the queue takes at the site's pace.
    :param stopped_by: why it ended before the queue did, if it did.
    """

    accepted: int
    accepted_no_id: int
    rejected: int
    unknown: int
    not_taken: int
    set_aside: int
    restaged: int
    swept: int
    requests: int
    left: int
    hours_left: float
    stopped_by: str | None

    @classmethod
    def of(cls, tally: Tally, *, left: int, seconds_each: float, stopped_by: str | None) -> DeliverReport:
        """Return the report of a run that has ended."""
        return cls(
            accepted=tally.outcomes[State.ACCEPTED],
            accepted_no_id=tally.outcomes[State.ACCEPTED_NO_ID],
            rejected=tally.outcomes[State.REJECTED],
            unknown=tally.outcomes[State.UNKNOWN],
            not_taken=tally.outcomes[State.READY],
            set_aside=tally.set_aside,
            restaged=tally.restaged,
            swept=tally.swept,
            requests=tally.requests,
            left=left,
            hours_left=round(left * seconds_each / 3600, 2),
            stopped_by=stopped_by,
        )
