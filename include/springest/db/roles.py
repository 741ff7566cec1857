"""Group roles of the warehouse, each with the minimum of rights.

*Writers* stage and deliver; *publishers* take snapshots, reconcile and publish, and may read whatever readers
may; *readers* are analysts, who cannot read the ledger. Each person and service has a login role that is a
member of one of these: ``GRANT springest_reader TO ana``.

Rights are granted by column if a row is evidence: only the owner may change the subject and the time of a
delivery or an attempt, or a person's decision. A trigger keeps publishers from queueing deliveries, since
grants do not depend on values: see ``functions/guard_queue.sql``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.exc import ProgrammingError

from springest.db.schema import (
    SCHEMA,
    certification,
    delivery,
    delivery_attempt,
    remote_certificate,
    snapshot,
)
from springest.errors import RolesNotAllowed

_READ: Final = "SELECT"
_ADD: Final = "SELECT, INSERT"
_CHANGE: Final = "SELECT, INSERT, UPDATE"
_ALL: Final = "SELECT, INSERT, UPDATE, DELETE"


def _update(table: Table, *columns: str) -> str:
    """Return the right to change these columns."""
    return f"UPDATE ({', '.join(table.c[name].name for name in columns)})"


def _update_but(table: Table, *columns: str) -> str:
    """Return the right to change all columns but these."""
    kept = {table.c[name] for name in columns}
    return _update(table, *(column.name for column in table.c if column not in kept))


WRITER: Final[Mapping[str, str]] = {
    "schema_version": _READ,
    "certification": f"{_ADD}, {_update_but(certification, 'site', 'certification_id', 'first_seen_at')}",
    "catalogue_scan": _ADD,
    "delivery": f"{_ADD}, "
    + _update_but(
        delivery,
        "delivery_id",
        "delivery_key",
        "site",
        "training_id",
        "issue_no",
        "created_at",
        "indexed_state",
    ),
    "delivery_attempt": f"{_ADD}, "
    + _update(
        delivery_attempt,
        "finished_at",
        "outcome",
        "failure",
        "http_status",
        "bytes_handed_over",
        "springest_certificate_id",
        "message",
    ),
    "delivery_decision": _ADD,
    "delivery_match": _READ,
    "ledger_restoration": _ADD,
    "staging_run": _CHANGE,
    "approved_run": _ALL,
    "stage_watermark": _CHANGE,
    "staged_row": _ALL,
    "learner_secret": _ADD,
    "site_identity": _CHANGE,
    "rate_limit": _CHANGE,
    "erasure_tombstone": _READ,
    "remote_certificate": _READ,
    "seen_certificate": _READ,
    "snapshot": _READ,
}
READER: Final[Mapping[str, str]] = {
    "certification": _READ,
    "certificate_reconciliation": _READ,
    "certificate_reconciliation_history": _READ,
    "delivery_review": _READ,
    "unmatched_remote_certificate": _READ,
    "reconciliation_daily": _READ,
    "waiting_by_certification": _READ,
    "expiring_soon": _READ,
    "reconciliation_freshness": _READ,
}
PUBLISHER: Final[Mapping[str, str]] = {
    **READER,  # Airflow's page shows what analysts read
    "schema_version": _READ,
    "delivery": f"{_READ}, "
    + _update(
        delivery,
        "state",
        "reason",
        "reason_detail",
        "springest_certificate_id",
        "match_method",
        "version",
        "updated_at",
    ),
    "delivery_attempt": f"{_READ}, {_update(delivery_attempt, 'worker', 'message')}",
    "delivery_decision": _READ,
    "learner_secret": _ADD,
    "site_identity": _READ,
    "delivery_match": _ALL,
    "ledger_restoration": _READ,
    "staging_run": _READ,
    "staged_row": _READ,
    "rate_limit": _CHANGE,
    "erasure_tombstone": _READ,
    "snapshot": f"{_ADD}, {_update_but(snapshot, 'snapshot_id', 'site', 'run_id', 'started_at')}",
    "remote_certificate": f"{_ADD}, {_update_but(remote_certificate, 'site', 'springest_certificate_id')}",
    "owner_lookup": _CHANGE,
    "filter_support": _CHANGE,
    "publication": _CHANGE,
    "verdict": _ALL,
    "verdict_history": _ADD,
    "current_verdict": _READ,
    "needs_person": _READ,
    "failed_check": _READ,
}


@dataclass(frozen=True, slots=True)
class RoleNames:
    """Names of the three roles; roles belong to the whole server, not to one database."""

    writer: str = "springest_writer"
    publisher: str = "springest_publisher"
    reader: str = "springest_reader"

    @classmethod
    def with_prefix(cls, prefix: str) -> RoleNames:
        """Return the names with another prefix than ``springest``."""
        return cls(f"{prefix}_writer", f"{prefix}_publisher", f"{prefix}_reader")

    def grants(self) -> tuple[tuple[str, Mapping[str, str]], ...]:
        """Return each role with its rights by table or view."""
        return ((self.writer, WRITER), (self.publisher, PUBLISHER), (self.reader, READER))


def grant_roles(engine: Engine, names: RoleNames | None = None) -> RoleNames:
    """Create the missing roles, and grant each exactly its rights; can be repeated.

    :raises RolesNotAllowed: the connection's role may not do so.
    """
    names = names or RoleNames()
    statements = []
    try:
        with engine.begin() as connection:
            statements = list(_statements(connection, names))
            for statement in statements:
                connection.execute(text(statement))
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != "42501":  # insufficient_privilege
            raise
        raise RolesNotAllowed(
            "the warehouse's role may not create these roles, or does not own the tables; "
            "let an administrator run:\n" + "\n".join(f"{statement};" for statement in statements)
        ) from None
    return names


def _statements(connection: Connection, names: RoleNames) -> Iterator[str]:
    quote = connection.dialect.identifier_preparer.quote_identifier
    schema = quote(SCHEMA)
    found = connection.execute(
        text(
            "SELECT relname FROM pg_class"
            " WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'v')"
        ),
        {"schema": SCHEMA},
    )
    there = set(found.scalars())
    yield from _revoking(schema, "PUBLIC")
    for name, rights in names.grants():
        role = quote(name)
        yield _creating(name, role)
        yield from _revoking(schema, role)
        yield f"GRANT USAGE ON SCHEMA {schema} TO {role}"
        for relation, right in rights.items():
            if relation in there:
                yield f"GRANT {right} ON {schema}.{quote(relation)} TO {role}"
        if name == names.writer:
            for function in ("unknown_outcomes", "sent_by_run"):
                yield f"GRANT EXECUTE ON FUNCTION {schema}.{function} TO {role}"


def _revoking(schema: str, role: str) -> Iterator[str]:
    """Revoke all rights in the schema from a role, including rights on columns."""
    for kind in ("TABLES", "SEQUENCES", "ROUTINES"):
        yield f"REVOKE ALL ON ALL {kind} IN SCHEMA {schema} FROM {role}"
    yield f"REVOKE ALL ON SCHEMA {schema} FROM {role}"


def _creating(name: str, role: str) -> str:
    """Create the role unless it exists, or another session is creating it."""
    literal = name.replace("'", "''")
    return (
        f"DO $roles$ BEGIN IF to_regrole('{_quoted(literal)}') IS NULL THEN CREATE ROLE {role} NOLOGIN; "
        "END IF; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $roles$"
    )


def _quoted(literal: str) -> str:
    return '"' + literal.replace('"', '""') + '"'
