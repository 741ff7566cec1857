"""Whether what is published is what would be worked out from nothing."""

from __future__ import annotations

from sqlalchemy import Engine, text

from springest.site import Site
from springest.verdicts.pending import compute_verdicts, lock_publishing


def require_no_stale_verdict(warehouse: Engine, site: Site) -> None:
    """Judge every delivery as if nothing were known of its verdict, and change nothing.

    :raises AssertionError: some published verdict is another one than would be worked out.
    """
    with warehouse.connect() as connection, connection.begin() as transaction:
        lock_publishing(connection, site.name)
        unknown = "UPDATE springest.verdict SET input_hash = NULL WHERE site = :site"
        connection.execute(text(unknown), {"site": site.name})
        changed = compute_verdicts(connection, site, run_id="from nothing", snapshot_id=None)
        stale = connection.execute(
            text(
                "SELECT pending.training_id, pending.verification_status, current.verification_status"
                " FROM springest.verdict AS pending"
                " JOIN springest.publication USING (publication_id)"
                " LEFT JOIN springest.current_verdict AS current USING (delivery_id)"
                " WHERE pending.site = :site AND publication.published_at IS NULL"
            ),
            {"site": site.name},
        ).all()
        transaction.rollback()
    assert (changed, stale) == (0, [])
