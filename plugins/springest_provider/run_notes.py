"""Listener of Airflow's scheduler: writes a note on a DAG run with certificates that need a person.

A task can't write the note of its own run, so it leaves the text in an XCom, and the scheduler writes it when
the run ends. If the run is cleared and succeeds, the note is removed; text that a person wrote stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

LONGEST: Final = 1_000
"""Characters of a note in Airflow's database."""
NOTE_KEY: Final = "springest_note"
"""Key of the XCom in which a task leaves its run's note."""
OURS: Final = "Springest: "
"""Beginning of each line that is written here."""


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001 - pluggy passes by name
    """Write the note of a run that is green."""
    write_note(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001
    """Write the note of a run that failed."""
    write_note(dag_run)


def write_note(dag_run: DagRun) -> None:
    """Set the note to the text that people wrote, followed by the run's own line if there is room."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None:
        return
    left = session.scalars(
        select(XComModel)
        .where(XComModel.dag_run_id == dag_run.id, XComModel.key == NOTE_KEY)
        .order_by(XComModel.timestamp)
    ).all()
    # Each task counts the whole run, so the last one has the final counts.
    ours = str(XComModel.deserialize_value(left[-1])) if left else ""
    note = new_note(dag_run.note or "", ours)
    if note != (dag_run.note or ""):
        dag_run.note = note or None


def new_note(before: str, ours: str) -> str:
    """Return a note with our current line; the note of a run without one is not changed.

    Text that people wrote stays. If there is no room for our line, it has no link, or is omitted.
    """
    lines = before.splitlines()
    kept = [line for line in lines if not line.startswith(OURS)]
    if not ours and kept == lines:
        return before
    notes = ("\n".join([*kept, *line]) for line in ([ours] if ours else [], [ours.rpartition(" ")[0]]))
    return next((note for note in notes if len(note) <= LONGEST), "\n".join(kept))
