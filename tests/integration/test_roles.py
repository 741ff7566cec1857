"""A night under the group roles: each step has the rights that it takes, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import make_url, text

from sandbox.faults import Fault, Kind
from springest.errors import DecisionRefused
from springest.review.approvals import SeenRun, approve_run
from tests.integration.test_agenda import agenda, answer
from tests.integration.test_dry_run import plan


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


def test_a_login_with_both_roles_can_plan_and_decide(world, roles):
    """Dry run, the morning's questions, an approval and a decision."""
    both = f"{roles.writer}_both"
    with world.warehouse.begin() as connection:
        connection.execute(text(f"CREATE ROLE {both} IN ROLE {roles.writer}, {roles.publisher}"))
    try:
        login = under(world, both)
        world.complete(world.training())
        login.catalogue()
        assert len(plan(login).to_send) == 1
        login.stage()
        world.sandbox.state.faults.add(Fault(Kind.CLOSE_BEFORE_STORING))
        login.deliver()
        login.snapshot()
        login.publish()
        asked = agenda(login)
        assert [item.waiting.training_id for item in asked.items] == ["T0001"]
        assert [applied.became for applied in answer(login, asked, {"T0001": "cancel"})] == ["cancelled"]
        with pytest.raises(DecisionRefused, match="no certificates left to approve"):
            approve_run(
                login.warehouse,
                site="default",
                run_id="night",
                seen=SeenRun(1, ""),
                by="anna",
                reason="looked",
            )
    finally:
        with world.warehouse.begin() as connection:
            connection.execute(text(f"DROP ROLE {both}"))
