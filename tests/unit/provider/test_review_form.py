"""The form of the morning's review: nothing of others becomes markup, and any JSON is read."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from springest.errors import DecisionRefused
from springest.redaction import Redactor
from springest.review.agenda import Agenda, Item
from springest.review.answers import refuse
from springest.review.approvals import LargeRun
from springest.review.waiting import Waiting
from springest.states import State
from springest_provider.review_form import Asked, make_form, read_form, read_refused, read_text
from springest_provider.ui.links import delivery_url
from tests.factories import MOMENT

EVIL = (
    "https://evil.example.com/x www.evil.example.com [a](http://evil.example.com) <img src=x> `code` **b** "
    "eve@example.com\n\n# heading\n\n```\nhttp://evil.example.com/fence\n```\x1b[2J\u202e"
)
KEY = "f" * 64
WAITING = Waiting(
    KEY, "T1", 1, 3, State.UNKNOWN, "response_lost", None, None, 7, "Course", None, None, MOMENT, MOMENT
)
ITEM = Item(WAITING, ("cancel",), "wait", "Look at it", "evidence", "missing", MOMENT)
RUN = LargeRun("night", 600, "d" * 64, 500, 2, MOMENT, None, None)


def _outside_code(markdown: str) -> str:
    """Return what Airflow parses as Markdown: no code spans, and no links to the page of this project."""
    prose = re.sub(r"`[^`]*`", "", markdown)
    return prose.replace(f"]({delivery_url(KEY)})", "")


def test_a_text_of_others_is_neither_markup_nor_link() -> None:
    """Training, certification, evidence, run, refusal: Airflow links bare URLs, even escaped ones."""
    waiting = replace(WAITING, training_id=EVIL, certification_name=EVIL, review_reason=EVIL)
    item = replace(ITEM, waiting=waiting, evidence=EVIL, missing=EVIL)
    agenda = Agenda((replace(RUN, run_id=EVIL),), (item,), 0)
    refused = {KEY: EVIL, EVIL: EVIL, "gone": EVIL}
    form = make_form(agenda, site="default", refused=refused, redactor=Redactor())
    plain = make_form(
        Agenda((RUN,), (ITEM,), 0),
        site="default",
        refused=dict.fromkeys((KEY, "night", "gone"), "x"),
        redactor=Redactor(),
    )
    assert _outside_code(form.body) == _outside_code(plain.body)
    assert "evil.example.com" in form.body
    assert "eve@" not in f"{form.body}{form.subject}"
    assert "\x1b" not in form.body
    assert "\u202e" not in form.body


def test_a_refusal_about_what_is_not_asked_any_more_is_shown() -> None:
    """Otherwise nobody would see it."""
    refused = {"other": "training T9 is cancelled"}
    form = make_form(Agenda((), (ITEM,), 0), site="default", refused=refused, redactor=Redactor())
    assert "- `other`: `training T9 is cancelled`" in form.body


@pytest.mark.parametrize("given", [0, 5, 1.5, True, False, [], ["approve"], {}, {"a": 1}])
def test_any_json_in_any_field_is_refused_clearly(given: object) -> None:
    """In a decision, an approval, the reason and the name; also as a whole parameter."""
    form = make_form(Agenda((RUN,), (ITEM,), 0), site="default", refused={}, redactor=Redactor())
    asked = Asked.of(form.asked.as_dict())
    for value in (given, {"value": given}):
        answered = read_form(asked, {"delivery_1": value, "run_1": value, "why": value, "by": value})
        assert [field.given for field in (*answered.deliveries, *answered.runs)] == [given, given]
        refusals = list(refuse((*answered.deliveries, *answered.runs), "x"))
        assert ["is not a text" in str(applied.refusal) for applied in refusals] == [True, True]
        for text, name in ((answered.why, "why"), (answered.by, "by")):
            with pytest.raises(DecisionRefused, match=f"the field {name} is not a text"):
                read_text(text, name)


def test_a_field_that_the_form_does_not_have_is_returned() -> None:
    """A misspelt name is no answer, and is not lost either."""
    answered = read_form(Asked({"delivery_1": (KEY, 1, "T1", "T1")}), {"delivery_2": "cancel"})
    assert [field.subject for field in answered.unknown] == ["delivery_2"]
    assert [field.given for field in answered.deliveries] == [None]


@pytest.mark.parametrize("conf", [None, 5, "x", [], ["x"], {"a": {"b": 1}}, {"a": None}, {"a": 5}])
def test_earlier_refusals_that_are_not_texts_are_left_out(conf: object) -> None:
    """Anybody may trigger the DAG with any conf."""
    assert read_refused(conf) == {}
    assert read_refused({"a": "b", **(conf if isinstance(conf, dict) else {}), "c": "d"})["c"] == "d"
