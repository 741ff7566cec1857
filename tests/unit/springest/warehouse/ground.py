"""What several tests of the migrations stand on."""

from __future__ import annotations

from sqlalchemy import Engine, text

VIEWS = """
SELECT relname, pg_get_viewdef(oid), obj_description(oid), relacl::text,
       (SELECT array_agg(col_description(oid, attnum) ORDER BY attnum) FROM pg_attribute WHERE attrelid = oid)
FROM pg_class WHERE relnamespace = to_regnamespace('springest') AND relkind = 'v' ORDER BY 1
"""


def relations(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT relname FROM pg_class"
                " WHERE relnamespace = to_regnamespace('springest') AND relkind <> 'i'"
            )
        )
        return set(found.scalars())


def fill_verdicts(engine: Engine) -> None:
    """What every earlier version may hold: verdicts of a site that was published, and of one that was not."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO springest.delivery"
                " (delivery_key, site, training_id, issue_no, state, row_version, staged_run_id, learner_ref)"
                " VALUES ('a', 's', 'A', 1, 'held', 'v', 'r', 'l'),"
                " ('b', 's', 'B', 1, 'held', 'v', 'r', 'l'),"
                " ('c', 't', 'C', 1, 'held', 'v', 'r', 'l')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO springest.reconciled_delivery (delivery_key, site, training_id, issue_no,"
                " delivery_state, verification_status, needs_review, learner_ref)"
                " SELECT delivery_key, site, training_id, 1, state, 'held', false, learner_ref"
                " FROM springest.delivery"
            )
        )
        connection.execute(
            text(
                "INSERT INTO springest.publication (site, run_id, reconciled_at)"
                " VALUES ('s', 'r', '2026-11-02Z')"
            )
        )
