"""``make dictionary``: write docs/data-dictionary.md from the comments of a fresh warehouse."""

from __future__ import annotations

import sys
from typing import Final

from demo.airflow_home import PROJECT
from demo.fresh_warehouse import fresh_warehouse
from springest.db.dictionary import describe, load_questions, render

DICTIONARY: Final = PROJECT / "docs" / "data-dictionary.md"
QUESTIONS: Final = PROJECT / "include" / "sql" / "questions"


def main() -> int:
    """Write the dictionary."""
    with fresh_warehouse() as engine, engine.connect() as connection:
        written = render(describe(connection), load_questions(QUESTIONS))
    DICTIONARY.write_text(written, encoding="utf-8")
    print(f"wrote {DICTIONARY.relative_to(PROJECT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
