"""The code of a next release: a revision that ``make revision`` writes, which this process then knows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Column, Engine, MetaData, Text

from demo.revision import write_revision
from springest.db import migrate, schema

NOTE = "note"


class NextRelease:
    """
    A copy of the migrations with one revision more.

    :param folder: where the copy is kept.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._migrations = folder / "migrations"
        shutil.copytree(Path(migrate.__file__).parent / "migrations", self._migrations)

    def add_columns(self, engine: Engine, *tables: str) -> None:
        """Add a column to tables, as somebody does in ``schema.py``, and have the revision written."""
        changed = MetaData(schema=schema.SCHEMA, naming_convention=schema.metadata.naming_convention)
        for table in schema.metadata.sorted_tables:
            copy = table.to_metadata(changed)
            if table.name in tables:
                copy.append_column(Column(NOTE, Text, comment="A note"))
        with self.deployed():
            self._monkeypatch.setattr(schema, "metadata", changed)
            write_revision("add a note", engine)
            self._monkeypatch.undo()

    @property
    def revision(self) -> Path:
        """The file of the revision."""
        [path] = (self._migrations / "versions").glob("0002_*.py")
        return path

    def allow_beside_tasks(self) -> None:
        """Declare, as a person does, that running tasks can bear the revision."""
        text = self.revision.read_text(encoding="utf-8")
        assert "runs_beside_tasks = False" in text
        self.revision.write_text(text.replace("runs_beside_tasks = False", "runs_beside_tasks = True"))

    @contextmanager
    def deployed(self) -> Iterator[None]:
        """This process runs the code of the next release."""
        with self._monkeypatch.context() as patch:
            patch.setattr(migrate, "_MIGRATIONS", self._migrations)
            patch.setattr(migrate, "_VERSIONS", self._migrations / "versions")
            yield
