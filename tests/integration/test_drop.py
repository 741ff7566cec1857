"""A night whose completed trainings come from files."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from demo.pdf import make_pdf
from springest.errors import SourceError
from springest_provider import drop as drops
from springest_provider import factories
from tests.integration.conftest import World
from tests.unit.source.test_drop import HEADER, QUERY

TWENTY = 20


@pytest.fixture
def exported(world: World, tmp_path: Path, monkeypatch):
    """Let the source be a folder with exports; return a function that writes one."""
    folder = tmp_path / "drop"
    folder.mkdir()
    monkeypatch.setattr(drops, "LOOK_AGAIN_SECONDS", 0)
    world.catalogue()
    world.query = QUERY

    def export(name: str, *lines: str, end: str = "\n") -> None:
        (folder / name).write_text("\n".join([HEADER, *lines]) + end, encoding="utf-8")
        os.utime(folder / name, (time.time() - 3600,) * 2)

    with factories.source(str(folder)) as engine:
        world.source.dispose()
        world.source = engine
        yield export


def _line(world: World, number: int, *, minutes: int = 30, certification: int = 102) -> str:
    path = world.folder / f"{number}.pdf"
    path.write_bytes(make_pdf(str(number)))
    moment = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
    return f"T{number},{certification},l{number}@example.com,2026-11-01T10:00:00Z,2026-11-01,,{path},{moment}"


def test_a_night_from_files_and_the_next_one(world, exported):
    """One bad line among twenty is set aside, the others are sent, and a corrected file is noticed."""
    lines = [_line(world, number) for number in range(TWENTY)]
    exported("monday.csv", *lines[:7], lines[7].replace(",102,", ","), *lines[8:])
    world.night("monday")
    assert world.posts == TWENTY - 1
    assert world.rows("SELECT reason_detail FROM springest.delivery WHERE state = 'invalid'")[0][0].count(
        "monday.csv, line 9"
    )
    exported("monday.csv", *lines)
    exported("tuesday.csv", _line(world, TWENTY))
    world.night("tuesday")
    assert world.posts == TWENTY + 1
    states = sorted(state for state, _ in world.states().values())
    assert [state for state in states if state in {"invalid", "withdrawn"}] == ["withdrawn"]
    world.night("wednesday")
    assert world.posts == TWENTY + 1


def test_a_file_that_is_cut_off_changes_nothing(world, exported):
    """Neither while staging, nor while sending: the run is retried."""
    lines = [_line(world, number) for number in range(3)]
    exported("a.csv", *lines, end="")
    with pytest.raises(SourceError, match=r"a\.csv does not end with a line break"):
        world.stage()
    exported("a.csv", *lines)
    world.stage()
    exported("a.csv", *lines[:2], lines[2][:-20], end="")
    with pytest.raises(SourceError):
        world.deliver()
    assert {state for state, _ in world.states().values()} == {"ready"}
    exported("a.csv", *lines)
    world.deliver("again")
    assert world.posts == 3


def test_rows_of_one_moment_that_differ_are_set_aside(world, exported):
    """Nobody knows which file is right."""
    line = _line(world, 1)
    exported("a.csv", line, _line(world, 2))
    exported("b.csv", line.replace(",102,", ",101,"))
    world.stage()
    assert world.states()["T2"][0] == "ready"
    assert world.states()["T1"][0] == "invalid"
