"""Two sites that read the same source: no certificate goes to both unless that is configured."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from sandbox.server import SandboxServer
from springest.staging import repository as ledger

from .conftest import CERTIFICATIONS, World


@pytest.fixture
def second(world):
    """Another site over the same source and warehouse, at a Springest of its own."""
    with SandboxServer(certifications=CERTIFICATIONS, api_key="another-key-for-tests") as sandbox:
        site = World(sandbox, world.source, world.warehouse_url, world.folder, name="other")
        yield site
        site.warehouse.dispose()


def _states(world, site):
    return dict(
        world.rows(
            "SELECT training_id, (state, reason)::text FROM springest.delivery WHERE site = :s", s=site
        )
    )


def test_a_training_of_another_site_is_held_until_freed(world, second):
    """This also holds after the other site sent it; a row of its own is sent."""
    world.complete(training := world.training())
    for site in (world, second):
        site.catalogue()
    world.stage()
    second.stage()
    assert _states(second, "other") == {training.training_id: "(held,staged_by_another_site)"}
    [detail] = second.rows("SELECT reason_detail FROM springest.delivery WHERE site = 'other'")
    assert "the site default has the same training" in detail[0]
    assert "shared_trainings" in detail[0]
    world.deliver()
    second.stage("second")
    assert second.deliver("second").accepted == 0
    assert (world.posts, second.posts) == (1, 0)
    with world.warehouse.begin() as connection:
        connection.exec_driver_sql("UPDATE springest.delivery SET state = 'withdrawn' WHERE site = 'default'")
    second.stage("third")
    assert second.deliver("third").accepted == 1


def test_a_setting_lets_both_sites_send_a_training(world, second):
    """With the setting both sites send it."""
    world.complete(world.training())
    second.extra["shared_trainings"] = True
    for site in (world, second):
        site.night()
    assert (world.posts, second.posts) == (1, 1)


def test_an_equal_id_of_another_learner_is_another_training(world, second):
    """Two databases number their trainings independently."""
    world.complete(world.training())
    world.night()
    with world.source.begin() as connection:
        connection.exec_driver_sql("UPDATE learner SET email = 'somebody.else@example.com'")
    second.night()
    assert second.posts == 1


def test_of_two_sites_that_stage_at_once_one_gets_the_training(world, second, monkeypatch):
    """Each has looked at the ledger before the other one wrote."""
    world.complete(*(world.training() for _ in range(3)))
    for site in (world, second):
        site.catalogue()
    both, lock, met = Barrier(2), ledger.lock_staging, set()

    def lock_together(connection, site):
        lock(connection, site)
        if site not in met:
            met.add(site)
            both.wait(30)

    monkeypatch.setattr(ledger, "lock_staging", lock_together)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda site: site.stage(), (world, second)))
    states = [*_states(world, "default").values(), *_states(world, "other").values()]
    assert sorted(states) == ["(held,staged_by_another_site)"] * 3 + ["(ready,)"] * 3
