"""The outcome of one Airflow run: its counts, and the certificates that need a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from springest.db.statements import load_sql
from springest.states import State

_COUNTS: Final = text(load_sql("review/run_counts"))
_ATTENTION: Final = text(load_sql("review/run_attention"))

REMEDIES: Final[dict[State, str]] = {
    State.UNKNOWN: "Springest may have stored it: look for it in Springest's admin. If it is there, confirm "
    "it with its id; if not, release it",
    State.REVIEW: "a person must decide: release, confirm or cancel it",
    State.VANISHED: "Springest no longer shows it: ask Springest, then release or cancel it",
    State.REJECTED: "correct what Springest names; it is checked again once the row, the catalogue or the "
    "document changes",
    State.INVALID: "correct the row or its document; it is checked again every night",
    State.HELD: "it is checked again every night: have its certification listed, or correct its id",
}
"""Remedy for each state in which a delivery needs a person, the most urgent state first."""
LOOK: Final = "it was delivered, but a person should look at it"


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Counts of one run, all its tries together.

    :param completed: source rows in its window.
    :param staged: deliveries that it put into the queue.
    :param set_aside: deliveries of its rows that can't be sent as they are.
    :param sent: POSTs that Springest may have stored or refused.
    :param left: deliveries in the site's queue, of all runs.
    """

    completed: int
    staged: int
    set_aside: int
    sent: int
    accepted: int
    refused: int
    unknown: int
    left: int


@dataclass(frozen=True, slots=True)
class NeedsPerson:
    """A delivery of a run that waits for a person.

    :param detail: cause and remedy as stored in the ledger; redacted.
    """

    delivery_key: str
    training_id: str
    issue_no: int
    state: State
    reason: str | None
    detail: str | None

    @property
    def remedy(self) -> str:
        """The remedy."""
        return REMEDIES.get(self.state, LOOK)


def count_run(connection: Connection, *, site: str, run_id: str) -> RunCounts:
    """Return the counts of a run."""
    counts = connection.execute(_COUNTS, {"site": site, "run_id": run_id}).mappings().one()
    return RunCounts(**counts)


def find_attention(
    connection: Connection, *, site: str, run_id: str, most: int
) -> tuple[Sequence[NeedsPerson], int]:
    """Return deliveries of a run that need a person, the most urgent first, and their total number.

    :param most: maximum number of deliveries to return.
    """
    values = {"site": site, "run_id": run_id, "most": most, "states": [state.value for state in REMEDIES]}
    rows = connection.execute(_ATTENTION, values).mappings().all()
    found = [
        NeedsPerson(
            row["delivery_key"],
            row["training_id"],
            row["issue_no"],
            State(row["state"]),
            row["reason"],
            row["detail"],
        )
        for row in rows
    ]
    return found, int(rows[0]["in_all"]) if rows else 0
