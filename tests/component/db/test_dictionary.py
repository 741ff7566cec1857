"""The data dictionary that is kept in the project says what the warehouse says."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from springest.db.dictionary import describe, load_questions, render
from springest.db.roles import READER

ROOT = Path(__file__).parents[3]
QUESTIONS = ROOT / "include" / "sql" / "questions"


def test_the_dictionary_is_current(warehouse: Engine) -> None:
    """`make dictionary` writes it; nobody has to remember to."""
    with warehouse.connect() as connection:
        wanted = render(describe(connection), load_questions(QUESTIONS))
    assert (ROOT / "docs" / "data-dictionary.md").read_text(encoding="utf-8") == wanted, (
        "run `make dictionary`"
    )


def test_the_dictionary_describes_every_column_for_analysts(warehouse: Engine) -> None:
    """Every column that analysts can read is in the data dictionary."""
    with warehouse.connect() as connection:
        columns = describe(connection)
    assert all(column.comment and column.relation_comment for column in columns)
    # A quoted quote at the end of a line of SQL would leave the line break in the comment.
    assert not any("\n" in f"{column.comment}{column.relation_comment}" for column in columns)
    assert {column.relation for column in columns} >= READER.keys() - {"unmatched_remote_certificate"}


def test_the_dictionary_has_ten_questions_in_words() -> None:
    """There are at least ten sample questions, each with its text."""
    questions = load_questions(QUESTIONS)
    assert len(questions) >= 10
    assert all(question.words.partition("?")[1] and question.sql.strip() for question in questions)
