"""Checks of Airflow itself: Variables, pools, DAGs, time zone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from airflow.sdk.configuration import conf
from sqlalchemy import select

from springest_provider import factories
from springest_provider.doctor.checkup import Check, Problem, Unsure
from springest_provider.lookups import read_variable

DAGS: Final = ("springest_catalogue", "springest_deliver", "springest_reconcile", "springest_review")


def scheduling_checks(*, site: str) -> Sequence[Check]:
    """
    Return the checks.

    :param site: name of the site.
    """
    return (
        ("Variables", _variables),
        ("highest attempt", lambda: _highest_attempt(site)),
        ("pools", _pools),
        ("DAGs", _dags),
        ("time zone", _time_zone),
    )


def _variables() -> str:
    names = (factories.SECRET_VARIABLE, factories.ROOTS_VARIABLE)
    missing = [name for name in names if not read_variable(name)]
    if missing:
        raise Problem(f"missing: {', '.join(missing)}; see 'Variables' in README")
    return ", ".join(names)


def _highest_attempt(site: str) -> str:
    keeper = factories.AttemptKeeper(site)
    number = keeper.read()
    return f"{keeper} is {number}" if number is not None else "nothing was sent yet"


def _pools() -> str:
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    with create_session() as session:
        pools = {str(name): int(slots) for name, slots in session.execute(select(Pool.pool, Pool.slots))}
    slots = pools.get("default_pool")
    if slots is None:
        raise Problem("there is no default_pool, so tasks wait for ever: run `airflow db migrate`")
    if not slots:
        raise Problem("default_pool has no slots, so tasks wait for ever: give it some under Admin > Pools")
    return f"default_pool has {slots if slots > 0 else 'any number of'} slots"


def _dags() -> str:
    from airflow.models.dag import DagModel
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session

    with create_session() as session:
        rows = session.execute(
            select(DagModel.dag_id, DagModel.is_paused, DagModel.is_stale).where(DagModel.dag_id.in_(DAGS))
        ).all()
        broken = [
            str(name)
            for name in session.scalars(select(ParseImportError.filename))
            if "springest" in str(name)
        ]
    if broken:
        raise Problem(f"can't be parsed: {', '.join(broken)}; the UI's home page shows why")
    there = {dag_id for dag_id, _, is_stale in rows if not is_stale}
    if absent := [name for name in DAGS if name not in there]:
        raise Problem(f"not parsed: {', '.join(absent)}; check that dags/ is Airflow's dags folder or in it")
    if paused := sorted(dag_id for dag_id, is_paused, _ in rows if is_paused):
        raise Unsure(f"paused: {', '.join(paused)}; unpause them in the UI once you want their schedules")
    return f"{', '.join(DAGS)} are there and not paused"


def _time_zone() -> str:
    zone = conf.get("core", "default_timezone", fallback="utc")
    local = time.strftime("%Z")
    now = datetime.now(UTC)
    return (
        f"schedules and deliver_until are in UTC, where it is {now:%H:%M}; Airflow's default is {zone}, this "
        f"machine's {local}"
    )
