"""Asks the questions that analysts are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import text

from springest.db.dictionary import load_questions
from springest.db.roles import RoleNames
from tests.integration.conftest import World

FOLDER = Path(__file__).parents[2] / "include" / "sql" / "questions"
QUESTIONS = {question.name: question for question in load_questions(FOLDER)}


def ask(world: World, name: str, **values: Any) -> list[Any]:
    """Ask a question by its file's name."""
    return list(world.rows(QUESTIONS[name].sql, **values))


def ask_as_reader(world: World, names: RoleNames, **values: Any) -> dict[str, list[Any]]:
    """Ask all questions with a reader's rights; returns the answers by the question's file."""
    answers = {}
    with world.warehouse.connect() as connection:
        connection.execute(text(f"SET ROLE {names.reader}"))
        for question in QUESTIONS.values():
            wanted = {name: value for name, value in values.items() if f":{name}" in question.sql}
            answers[question.name] = list(connection.execute(text(question.sql), wanted).all())
    return answers
