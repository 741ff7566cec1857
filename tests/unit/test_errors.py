"""The error tree."""

from __future__ import annotations

import pickle

import pytest

from springest import errors


def _kinds(kind):
    return {kind, *(deeper for one in kind.__subclasses__() for deeper in _kinds(one))}


API_ERRORS = sorted(
    (kind for kind in _kinds(errors.ApiError) if kind.__module__ == errors.__name__),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", API_ERRORS, ids=lambda kind: kind.__name__)
def test_errors_survive_a_process_border(kind):
    """Airflow pickles what a task raises; nothing may be lost on the way."""
    error = kind(
        method="POST", path="/x", detail="it broke", status=500, messages=("a", "b"), bytes_handed_over=7
    )
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert str(again) == "POST /x: it broke: a; b"


def test_the_tree_at_the_top_of_the_module_is_the_tree():
    """Every class is drawn there."""
    for kind in API_ERRORS:
        assert kind.__name__ in (errors.__doc__ or "")


def test_a_delay_survives_too():
    """Only a throttled request has one."""
    error = errors.Throttled(method="GET", path="/", detail="slow down", retry_after=7.0)
    assert pickle.loads(pickle.dumps(error)).retry_after == 7.0  # noqa: S301 - our own bytes
