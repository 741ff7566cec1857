"""The tests of a group run on one worker."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("canary")
def test_groups_are_kept(request: pytest.FixtureRequest) -> None:
    """The scheduler of pytest-xdist finds a test's group at the end of its id, where a worker puts it."""
    grouped = getattr(request.config.option, "loadgroup", False)
    assert request.node.nodeid.endswith("@canary") is bool(grouped)
