"""The error tree."""

from __future__ import annotations

import pickle
import re

import pytest

from springest import errors
from springest_provider.retry_policy import RETRY_POLICY


def _kinds(kind):
    return {kind, *(deeper for derived in kind.__subclasses__() for deeper in _kinds(derived))}


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


def _drawn():
    """Each class in the docstring's tree, with its depth and its last column."""
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)([A-Z]\w+)  +(.*?)(?:  +(\S+))?$", line)
        if found:
            yield found[2], len(found[1]) // 4, found[4]


def test_the_tree_is_drawn_as_it_is():
    """Every error class of the domain is in the module, and stands in its docstring below its base."""
    path, drawn = [], {}
    for name, depth, _ in _drawn():
        path[depth:] = [name]
        drawn[name] = path[depth - 1] if depth else None
    classes = {
        kind.__name__: kind
        for kind in _kinds(errors.SpringestError)
        if kind.__module__.startswith("springest.")
    }
    assert classes.keys() == drawn.keys()
    assert all(kind.__module__ == errors.__name__ for kind in classes.values())
    for name, base in drawn.items():
        assert base is None or issubclass(classes[name], getattr(errors, base)), name


def test_the_retry_column_is_the_retry_policy():
    """Airflow retries each error as the tree says."""
    for name, _, column in _drawn():
        if column is None:
            continue
        kind = getattr(errors, name)
        decision = RETRY_POLICY.evaluate(kind.__new__(kind), 1, 3)
        minutes = decision.retry_delay.total_seconds() / 60 if decision.retry_delay else None
        expected = {"no": ("fail", None), "-": ("default", None)}.get(column, ("retry", column))
        assert (decision.action.value, minutes and f"{minutes:g}") == expected, name


def test_a_delay_survives_too():
    """Only a throttled request has one."""
    error = errors.Throttled(method="GET", path="/", detail="slow down", retry_after=7.0)
    assert pickle.loads(pickle.dumps(error)).retry_after == 7.0  # noqa: S301 - our own bytes
