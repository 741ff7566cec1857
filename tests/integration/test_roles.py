"""A night under the group roles: each step has the rights that it takes, and no more."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import make_url


def under(world, role):
    """The same world, seen by a login that has become the role."""
    url = make_url(world.warehouse_url).update_query_dict({"options": f"-c role={role}"})
    return replace(world, warehouse_url=url.render_as_string(hide_password=False), has_begun=False)


def test_writers_and_publishers_can_do_their_nights(world, roles, expected):
    """Catalogue, staging, delivering, snapshots, owners and verdicts, two nights in a row."""
    writer, publisher = under(world, roles.writer), under(world, roles.publisher)
    trainings = [world.training() for _ in range(4)]
    world.complete(*trainings)
    for run_id in ("first", "second"):
        writer.catalogue(run_id)
        writer.stage(run_id)
        writer.deliver(run_id)
        publisher.snapshot(run_id)
        publisher.owners(run_id)
        publisher.publish(run_id)
    assert world.stored == expected(*trainings)
    assert {status for status, _ in world.statuses().values()} == {"verified"}
