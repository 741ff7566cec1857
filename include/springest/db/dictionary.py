"""The data dictionary: tables, views and columns with their comments in PostgreSQL, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from springest.db.roles import READER
from springest.db.schema import VERSION_TABLE
from springest.db.statements import load_sql

_COLUMNS: Final = text(load_sql("db/described_columns"))
HEAD: Final = """\
# Data dictionary

`make dictionary` generates this file from the comments in the warehouse. Change those in `schema.py` and
in the files of the views under `include/springest/db/`, not here.
Everything is in the schema `springest`. Times have a time zone; days are days in UTC.
"""


@dataclass(frozen=True, slots=True)
class Described:
    """One column and its comment."""

    relation: str
    kind: str
    relation_comment: str
    column: str
    type: str
    nullable: bool
    comment: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question that analysts ask.

    :param words: the question, from the first comment in its file.
    :param sql: the statement that answers it, with bound parameters such as ``:training_id``.
    """

    name: str
    words: str
    sql: str


def load_questions(folder: Path) -> list[Question]:
    """Read the questions, one SQL file each, in the order of their names."""
    questions = []
    for path in sorted(folder.glob("*.sql")):
        lines = path.read_text(encoding="utf-8").splitlines()
        words = " ".join(line.removeprefix("--").strip() for line in lines if line.startswith("--"))
        sql = "\n".join(line for line in lines if not line.startswith("--"))
        questions.append(Question(path.name, words, sql))
    return questions


def describe(connection: Connection) -> list[Described]:
    """Return every column of the warehouse with its comment."""
    rows = connection.execute(_COLUMNS, {"version_table": VERSION_TABLE})
    return [Described(*row) for row in rows]


def render(columns: Sequence[Described], questions: Sequence[Question]) -> str:
    """Return the dictionary."""
    relations = [(name, list(some)) for name, some in groupby(columns, key=lambda row: row.relation)]
    analysts = [relation for relation in relations if relation[0] in READER]
    ledger = [relation for relation in relations if relation[0] not in READER]
    return "\n".join(
        [
            HEAD,
            "## Questions analysts ask",
            "",
            "Each is a file under `include/sql/questions/`, run by the tests. Most SQL clients prompt for "
            "the",
            "values of `:training_id` and `:days`; for psql, pass them on the command line, text with its "
            "quotes:",
            "",
            "```sh",
            """psql -v training_id="'T-4711'" -v days=90 -f include/sql/questions/04_one_learner.sql""",
            "```",
            "",
            *(line for question in questions for line in _question(question)),
            "## Tables for analysts",
            "",
            *(line for name, some in analysts for line in _relation(name, some)),
            "## Internal tables",
            "",
            "Readers have no access to these; the grants are in `include/springest/db/roles.py`.",
            "",
            *(line for name, some in ledger for line in _relation(name, some)),
        ]
    )


def _question(question: Question) -> Iterator[str]:
    yield from (f"**{question.words}** `{question.name}`", "", "```sql", question.sql, "```", "")


def _relation(name: str, columns: Sequence[Described]) -> Iterator[str]:
    yield from (f"### {name}", "", f"*{columns[0].kind}.* {columns[0].relation_comment}.", "")
    yield from ("| column | type | empty? | |", "|---|---|---|---|")
    for column in columns:
        nullable = "may be" if column.nullable and column.kind == "Table" else ""
        comment = column.comment.replace("|", r"\|")
        yield f"| `{column.column}` | {column.type} | {nullable} | {comment} |"
    yield ""
