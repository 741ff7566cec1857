"""``make dictionary``: write docs/data-dictionary.md from the comments of a fresh warehouse."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine

from include.demo.airflow_home import PROJECT
from include.demo.postgres import EmbeddedPostgres
from include.springest.warehouse.dictionary import describe, load_questions, render
from include.springest.warehouse.migrate import upgrade

DICTIONARY: Final = PROJECT / "docs" / "data-dictionary.md"
QUESTIONS: Final = PROJECT / "include" / "sql" / "questions"


def main() -> int:
    """Write the dictionary."""
    state = PROJECT / ".springest"
    state.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=state) as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as server,
    ):
        engine = create_engine(server.create_database("dictionary"))
        upgrade(engine)
        with engine.connect() as connection:
            written = render(describe(connection), load_questions(QUESTIONS))
        engine.dispose()
    DICTIONARY.write_text(written, encoding="utf-8")
    print(f"wrote {DICTIONARY.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
