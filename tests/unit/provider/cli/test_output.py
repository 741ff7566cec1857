"""The command's output contains no terminal control characters, even in texts from outside."""

from __future__ import annotations

import json

import pytest

from springest.errors import DecisionRefused
from springest.review.audit_text import clean
from springest_provider.cli.output import Output

CLEARS_SCREEN = "\x1b[2Jall is well"
TITLE = "\x9d0;evil\x07"
REVERSED = "\u202egnp.exe"
ZERO_WIDTH = "jan\u200bsen"
UNSEEN = [CLEARS_SCREEN, TITLE, REVERSED, ZERO_WIDTH, "\x00", "\u2066x\u2069", "\U000e0041"]


@pytest.mark.parametrize("text", UNSEEN)
def test_characters_that_a_terminal_obeys_are_shown_as_escapes(text, capsys):
    """In a line, a cell, a fact and a complaint; a cell cannot begin a line of its own either."""
    output = Output()
    output.line(text)
    output.table(["name"], [[text], ["a\nforged line"]])
    output.facts([("name", text)])
    output.error(text)
    shown = "".join(capsys.readouterr())
    assert "\\u" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "\nforged" not in shown


@pytest.mark.parametrize("text", [*UNSEEN, "\ud800"])
def test_json_contains_the_text_in_plain_characters(text, capsys):
    """A program reads the stored text; a terminal that shows it obeys nothing."""
    Output(as_json=True).document({"name": text})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"name": text}
    assert all(character.isprintable() or character == "\n" for character in shown)


@pytest.mark.parametrize("text", UNSEEN)
def test_a_decision_keeps_no_such_characters(text):
    """They would reach the next person who reads it."""
    with pytest.raises(DecisionRefused, match="control character"):
        clean(f"because {text}", "the reason")


def test_a_reason_over_two_lines_becomes_one():
    """Line ends and tabs are blanks."""
    assert clean(" found in\nthe admin\t", "the reason") == "found in the admin"
