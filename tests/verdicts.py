"""Whether what is published is what would be worked out from nothing."""

from __future__ import annotations

from sqlalchemy import Engine, text

from springest.site import Site
from springest.verdicts.pending import judge, lock_publishing


def require_no_stale_verdict(warehouse: Engine, site: Site) -> None:
    """Judge every delivery as if nothing were known of its verdict, and change nothing.

    :raises AssertionError: some published verdict is another one than would be worked out.
    """
    with warehouse.connect() as connection, connection.begin() as transaction:
        lock_publishing(connection, site.name)
        unsealed = "UPDATE springest.reconciled_delivery SET seal = NULL WHERE site = :site"
        connection.execute(text(unsealed), {"site": site.name})
        changed = judge(connection, site, run_id="from nothing", snapshot_id=None)
        stale = connection.execute(
            text(
                "SELECT candidate.training_id, candidate.verification_status, published.verification_status"
                " FROM springest.reconciled_candidate AS candidate"
                " LEFT JOIN springest.reconciled_delivery AS published USING (delivery_key)"
                " WHERE candidate.site = :site"
            ),
            {"site": site.name},
        ).all()
        transaction.rollback()
    assert (changed, stale) == (0, [])
