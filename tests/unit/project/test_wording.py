"""The check of words finds what it looks for, and nothing is left to find."""

from __future__ import annotations

import pytest

from tests.unit.project import wording


def test_prose_and_names_pass_the_check(capsys):
    """``make check`` runs the same."""
    assert wording.main() == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (wording.prose_of_markdown, "It is staged anew."),
        (wording.prose_of_python, '"""Stage it anew."""'),
        (wording.prose_of_python, "x = 1  # stage it anew"),
        (wording.prose_of_sql, "-- Stage it anew.\nSELECT 1"),
        (wording.prose_of_sql, "SELECT 'it is staged anew'"),
    ],
)
def test_a_phrase_is_found_in_prose(read, text):
    """In documents, comments, docstrings and literals."""
    assert any("anew" in line for _, line in read(text))


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (wording.prose_of_markdown, "```\nanew\n```\nRun `anew`."),
        (wording.prose_of_python, 'anew = f"value {anew}"'),
        (wording.prose_of_sql, "SELECT anew FROM anew"),
    ],
)
def test_code_is_not_prose(read, text):
    """Identifiers are checked apart from words."""
    assert not any("anew" in line for _, line in read(text))


def test_each_way_to_bind_a_name_is_found():
    """Variables, parameters, attributes, functions and classes."""
    text = "def told(said):\n    who = 1\n    self.mine = who\n\nclass other: ...\n"
    assert {name for _, name in wording.names_of(text)} == {"told", "said", "who", "mine", "other"}


def test_more_than_what_is_left_fails_and_names_each_place():
    """A ratchet: the numbers of what is left only fall."""
    found = [("a.py:1", "told"), ("b.py:2", "told")]
    assert wording.complaints(found, {"told": 2}, {"told": "name it"}) == []
    assert wording.complaints(found, {"told": 1}, {"told": "name it"}) == [
        "a.py:1: 'told': name it",
        "b.py:2: 'told': name it",
    ]
