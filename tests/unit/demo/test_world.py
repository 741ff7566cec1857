"""The demo's world."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.world import AlreadyRunning, alone


def test_two_demos_do_not_take_each_others_databases_away(tmp_path: Path) -> None:
    """The second is refused and touches nothing; after the first has ended another may run."""
    folder = tmp_path / "made" / "demo"
    with alone(folder):
        (folder / "postgres").touch()
        with pytest.raises(AlreadyRunning, match="end it first"), alone(folder):
            pass
        assert (folder / "postgres").exists()
    with alone(folder):
        assert list(folder.iterdir()) == []
