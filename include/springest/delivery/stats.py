"""Counts of a delivery run, and its report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from springest.states import State


@dataclass(slots=True)
class DeliveryStats:
    """Counts of a run so far.

    :param outcomes: attempts by the state that the delivery has afterwards; ``ready`` was not stored.
    :param set_aside: deliveries whose document could not be sent.
    :param restaged: deliveries whose source row had changed or was gone.
    :param swept: deliveries whose lease had expired.
    :param taken_by_others: deliveries that another worker claimed first.
    """

    outcomes: Counter[State] = field(default_factory=Counter)
    set_aside: int = 0
    restaged: int = 0
    swept: int = 0
    taken_by_others: int = 0

    @property
    def attempts(self) -> int:
        """POSTs with a recorded outcome."""
        return self.outcomes.total()

    def describe(self) -> str:
        """Return one line for the log."""
        accepted = self.outcomes[State.ACCEPTED] + self.outcomes[State.ACCEPTED_NO_ID]
        return (
            f"{accepted} accepted, {self.outcomes[State.REJECTED]} rejected, "
            f"{self.outcomes[State.UNKNOWN]} unknown, {self.outcomes[State.READY]} not stored, "
            f"{self.set_aside} set aside, {self.restaged} changed in the source"
        )


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """Result of a run.

    :param left: deliveries that are still in the queue.
    :param hours_left: hours that they take at the rate limit.
    :param stopped_by: why the run ended before its queue was empty; ``None`` if it was emptied.
    """

    accepted: int
    accepted_no_id: int
    rejected: int
    unknown: int
    not_stored: int
    set_aside: int
    restaged: int
    swept: int
    requests: int
    left: int
    hours_left: float
    stopped_by: str | None

    @classmethod
    def of(
        cls, stats: DeliveryStats, *, requests: int, left: int, seconds_each: float, stopped_by: str | None
    ) -> DeliveryReport:
        """Return the report of a run that has ended."""
        return cls(
            accepted=stats.outcomes[State.ACCEPTED],
            accepted_no_id=stats.outcomes[State.ACCEPTED_NO_ID],
            rejected=stats.outcomes[State.REJECTED],
            unknown=stats.outcomes[State.UNKNOWN],
            not_stored=stats.outcomes[State.READY],
            set_aside=stats.set_aside,
            restaged=stats.restaged,
            swept=stats.swept,
            requests=requests,
            left=left,
            hours_left=round(left * seconds_each / 3600, 2),
            stopped_by=stopped_by,
        )
