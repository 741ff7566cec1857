"""The check operators, over a real warehouse and Airflow's own SQL checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text

from springest.db.schema import COMPUTED_COLUMNS
from springest.errors import QualityCheckFailed
from springest.verdicts.publish import reconcile
from springest_provider.operators.reconcile import (
    SpringestColumnCheckOperator,
    SpringestPublishOperator,
    SpringestTableCheckOperator,
)
from tests.factories import SITE, add_delivery
from tests.verdicts import publish


@pytest.fixture
def ready(connected_warehouse: Engine, connect: Callable[..., str]) -> Engine:
    """A warehouse in which one verdict waits to be published."""
    connect()
    add_delivery(connected_warehouse, "held", delivery_key="k")
    reconcile(connected_warehouse, site=SITE, run_id="night")
    return connected_warehouse


def check(kind: type[Any]) -> None:
    kind(task_id="check").execute({})


def spoil(warehouse: Engine, statement: str) -> None:
    with warehouse.begin() as connection:
        connection.execute(text(statement))


COLUMNS = ", ".join(("publication_id", *COMPUTED_COLUMNS))
BOTH = [SpringestColumnCheckOperator, SpringestTableCheckOperator]


@pytest.mark.parametrize("kind", BOTH)
def test_good_verdicts_pass(ready: Engine, kind: type[Any]) -> None:
    """Correct verdicts pass every check."""
    check(kind)


@pytest.mark.parametrize("kind", BOTH)
def test_a_quiet_night_passes(ready: Engine, kind: type[Any]) -> None:
    """Nothing waits to be published: there is nothing to be wrong."""
    publish(ready, site=SITE, run_id="night")
    reconcile(ready, site=SITE, run_id="again")
    check(kind)


@pytest.mark.parametrize("kind", BOTH)
def test_a_check_that_is_cleared_after_the_publication_passes(ready: Engine, kind: type[Any]) -> None:
    """Also if another run has published meanwhile."""
    publish(ready, site=SITE, run_id="night")
    check(kind)


@pytest.mark.parametrize(
    ("kind", "statement", "message"),
    [
        (
            SpringestColumnCheckOperator,
            "UPDATE springest.verdict SET verification_status = NULL",
            r"not_null: training T1 \(delivery k\)",
        ),
        (
            SpringestColumnCheckOperator,
            f"INSERT INTO springest.verdict ({COLUMNS}) SELECT {COLUMNS} FROM springest.verdict",  # noqa: S608
            r"unique: training T1 \(delivery k\) has 2 verdicts",
        ),
        (
            SpringestTableCheckOperator,
            "UPDATE springest.verdict SET verification_status = 'verified'",
            r"verified_has_proof: training T1 \(delivery k\)",
        ),
        (
            SpringestTableCheckOperator,
            "UPDATE springest.publication SET incomplete_run = 'lost'",
            r"conservation: run lost .*clear that run's stage task",
        ),
    ],
)
def test_an_impossible_verdict_fails_the_task(
    ready: Engine, kind: type[Any], statement: str, message: str
) -> None:
    """The error names the row and the remedy."""
    spoil(ready, statement)
    with pytest.raises(QualityCheckFailed, match=message):
        check(kind)


def test_another_sites_verdicts_do_not_fail_the_check(ready: Engine) -> None:
    """A failed check of another site does not fail this one."""
    spoil(
        ready,
        "WITH pending AS (INSERT INTO springest.publication (site, run_id, computed_at, incomplete_run)"
        " VALUES ('other', 'night', now(), 'lost') RETURNING publication_id)"
        " INSERT INTO springest.verdict (publication_id, site, delivery_id)"
        " SELECT publication_id, 'other', 0 FROM pending",
    )
    for kind in BOTH:
        check(kind)


def test_the_check_without_verdicts_names_the_remedy(ready: Engine) -> None:
    """The error names the task to run first."""
    spoil(ready, "DELETE FROM springest.publication")
    with pytest.raises(QualityCheckFailed, match="clear the reconcile task"):
        check(SpringestTableCheckOperator)


def test_publishing_returns_only_counts(ready: Engine) -> None:
    """The result becomes an XCom."""
    report = SpringestPublishOperator(task_id="publish").execute({"run_id": "night"})
    assert report == {
        "written": 1,
        "versions": 1,
        "statuses": {"held": 1},
        "superseded_by": None,
        "cleared": 0,
    }
