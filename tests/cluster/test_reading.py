"""How the compose file is read and the cap is judged: short forms, without starting anything."""

from __future__ import annotations

import pytest

from sandbox.store import Request

from .__main__ import most_above_pace
from .compose import image_environment, interpolate, read
from .nights import REQUESTS_PER_HOUR
from .stack import _order

PACE = 3600 / REQUESTS_PER_HOUR


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${NAME}", "value"),
        ("${NAME:-other}", "value"),
        ("${MISSING:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${MISSING}", ""),
        ("$$(hostname)", "$(hostname)"),
    ],
)
def test_variables_are_replaced_as_compose_does(text, expected):
    """The forms that the file uses."""
    assert interpolate(text, {"NAME": "value", "EMPTY": ""}) == expected


def test_a_missing_variable_is_refused_with_its_text():
    """`:?` names the remedy."""
    with pytest.raises(ValueError, match="NAME: fill it in"):
        interpolate("${NAME:?fill it in}", {})


@pytest.mark.parametrize(
    ("profiles", "added"),
    [("", set()), ("celery", {"redis", "airflow-worker"}), ("sandbox", {"sandbox", "trial-data"})],
)
def test_each_service_starts_after_those_it_waits_for(profiles, added):
    """The secrets come first, whatever is started."""
    always = {"secrets", "postgres", "airflow-init"} | {
        f"airflow-{name}" for name in ("api-server", "scheduler", "dag-processor", "triggerer")
    }
    services = read({"COMPOSE_PROFILES": profiles})
    assert services.keys() == always | added
    ordered = _order(services)
    assert ordered[0] == "secrets"
    for place, name in enumerate(ordered):
        assert services[name].waits_for <= set(ordered[:place])


def test_a_stop_reaches_the_tasks_of_each_service():
    """Neither the Dockerfile nor a service takes the image's default away."""
    for service in read({"COMPOSE_PROFILES": "celery"}).values():
        assert {**image_environment(), **service.environment}["DUMB_INIT_SETSID"] == "1"


@pytest.mark.parametrize(
    ("moments", "above"),
    [
        ([], 0),
        ([0.0] * 20, 20),
        ([PACE * number for number in range(100)], 1),
        ([PACE * number for number in range(100)] + [PACE * 99] * 30, 31),
        ([PACE * number / 2 for number in range(100)], 51),
    ],
)
def test_a_pace_above_the_cap_is_measured(moments, above):
    """Twice the pace is soon far above; a burst after a pause is what it is."""
    requests = [Request(number, at, "POST", "/", "certificates", 201) for number, at in enumerate(moments)]
    assert round(most_above_pace(requests)) == pytest.approx(above, abs=1)
