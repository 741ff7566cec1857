"""A warehouse that real nights have filled goes down version by version and up again, and says the same."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from include.sandbox.faults import Fault, Kind
from include.springest.warehouse.migrate import downgrade, head_revision, revisions, upgrade
from include.springest.warehouse.roles import READER
from tests.integration.conftest import World

FIRST = "0006"
"""The first version with all that is published today."""
VERSIONS = sorted(one.revision for one in revisions() if one.revision >= FIRST)


@pytest.fixture
def filled(make_world: Any) -> World:
    """Something in every state that nights can leave, a history, and somebody else's certificate."""
    world: World = make_world(profile="owner_shown")
    good = [world.training() for _ in range(3)]
    until = datetime.now(UTC).date() + timedelta(days=30)
    expiring = world.training(certification_id=101, valid_until=until)
    waiting = world.training(certification_id=105)
    held = world.training(certification_id=999)
    bad = world.training(valid_from=date(2026, 12, 1), valid_until=date(2026, 11, 1))
    world.complete(*good, expiring, waiting, held, bad)
    world.night("first")
    doubtful = world.training()
    world.complete(doubtful, ago=timedelta(0))
    world.sandbox.state.faults.add(Fault(Kind.STATUS, status=500))
    world.sandbox.store.verify(105)
    world.night("second")
    return world


def read(world: World) -> dict[str, list[str]]:
    """All that analysts read, by view."""
    asked = {name: f"SELECT * FROM springest.{name}" for name in READER}  # noqa: S608
    return {name: sorted(str(row._mapping) for row in world.rows(every)) for name, every in asked.items()}


def test_nights_go_down_version_by_version_and_up_again(filled: World) -> None:
    """What is published is the same before and after; the next night changes nothing and sends nothing."""
    before, posts = read(filled), filled.posts
    assert all(before[name] for name in READER if name not in {"unmatched_remote_certificate"})
    for version in reversed(VERSIONS[:-1]):
        assert downgrade(filled.warehouse, revision="-1") == version
    for version in VERSIONS[1:]:
        assert upgrade(filled.warehouse, revision=version) == version
    assert read(filled) == before
    report = filled.night("third")
    assert (report.versions, filled.posts) == (0, posts)


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_nights_go_straight_up_from_every_version_and_one_step_down(filled: World, version: str) -> None:
    """The newest code works on what any of them left."""
    before, posts = read(filled), filled.posts
    downgrade(filled.warehouse, revision=version)
    assert upgrade(filled.warehouse) == head_revision()
    assert read(filled) == before
    assert filled.night("third").versions == 0
    assert filled.posts == posts
