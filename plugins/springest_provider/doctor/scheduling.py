"""Checks of Airflow itself: Variables, pools, DAGs, time zone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import Final
from zoneinfo import ZoneInfo

from airflow.sdk.configuration import conf
from sqlalchemy import select

from springest_provider import factories
from springest_provider.copy_destinations import destination_of
from springest_provider.doctor.checkup import Check, Problem, Unsure
from springest_provider.factories import ROOTS_VARIABLE, SECRET_VARIABLE
from springest_provider.lookups import read_variable
from springest_provider.secret_places import places_of_connection, places_of_variable
from springest_provider.site_settings import SiteSettings, is_drop
from springest_provider.sites import VARIABLE, SiteList

DAGS: Final = ("springest_catalogue", "springest_deliver", "springest_reconcile", "springest_review")


def scheduling_checks(listed: SiteList, site: SiteSettings, warehouse: str) -> Sequence[Check]:
    """
    Return the checks.

    :param listed: the list of sites.
    :param site: the site to check.
    :param warehouse: connection of the warehouse.
    """
    return (
        ("list of sites", lambda: _sites(listed)),
        ("Variables", lambda: _variables(site)),
        ("secrets", lambda: _secrets(site, warehouse)),
        ("highest attempt", lambda: _highest_attempt(site.name)),
        ("pools", lambda: _pools(site.pool or "default_pool")),
        ("DAGs", lambda: _dags(site)),
        ("copy", lambda: _copy(site)),
        ("time zone", lambda: _time_zone(site)),
    )


def _sites(listed: SiteList) -> str:
    if listed.problems:
        raise Unsure("; ".join(listed.problems.values()))
    if read_variable(VARIABLE) is not None:
        raise Unsure(
            f"nothing reads the Variable {VARIABLE}: the list of sites is the file {listed.path}. Move what "
            "is missing there, then delete the Variable"
        )
    return f"{', '.join(listed.sites)}, by {listed.path}"


def _variables(site: SiteSettings) -> str:
    names = [SECRET_VARIABLE, *([] if site.document_roots else [ROOTS_VARIABLE])]
    missing = [name for name in names if not read_variable(name)]
    if missing:
        raise Problem(f"missing: {', '.join(missing)}; see 'Variables' in README")
    if site.document_roots and read_variable(ROOTS_VARIABLE):
        return f"{', '.join(names)}; the list of sites replaces {ROOTS_VARIABLE} for this site"
    return ", ".join(names)


def _secrets(site: SiteSettings, warehouse: str) -> str:
    sources = [item.source for item in site.all_sources]
    settings = (site.connection, *sources, warehouse, site.copy_to)
    conn_ids = [conn_id for conn_id in settings if conn_id is not None and not is_drop(conn_id)]
    found = {
        **{f"connection {conn_id}": places_of_connection(conn_id) for conn_id in conn_ids},
        **{f"Variable {name}": places_of_variable(name) for name in (SECRET_VARIABLE, ROOTS_VARIABLE)},
    }
    twice = [f"the {name} is in {' and '.join(places)}" for name, places in found.items() if len(places) > 1]
    if twice:
        raise Unsure(
            f"{'; '.join(twice)}. Only the first is read, also if it is the older one: remove the others"
        )
    once = [f"{name} from {places[0]}" for name, places in found.items() if places]
    return "; ".join(once) or "none of the settings is there yet"


def _highest_attempt(site: str) -> str:
    keeper = factories.AttemptKeeper(site)
    number = keeper.read()
    return f"{keeper} is {number}" if number is not None else "nothing was sent yet"


def _pools(name: str) -> str:
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    with create_session() as session:
        slots = session.scalar(select(Pool.slots).where(Pool.pool == name))
    if slots is None:
        remedy = "run `airflow db migrate`" if name == "default_pool" else "create it under Admin > Pools"
        raise Problem(f"there is no pool {name}, so tasks wait for ever: {remedy}")
    if not slots:
        raise Problem(
            f"the pool {name} has no slots, so tasks wait for ever: give it some under Admin > Pools"
        )
    return f"{name} has {slots if slots > 0 else 'any number of'} slots"


def _dags(site: SiteSettings) -> str:
    from airflow.models.dag import DagModel
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session

    names = [site.named(name) for name in (*DAGS, *(["springest_copy"] if site.copy_to else []))]
    with create_session() as session:
        rows = session.execute(
            select(DagModel.dag_id, DagModel.is_paused, DagModel.is_stale).where(DagModel.dag_id.in_(names))
        ).all()
        broken = [
            str(name)
            for name in session.scalars(select(ParseImportError.filename))
            if any(dag in str(name) for dag in DAGS)
        ]
    if broken:
        raise Problem(f"can't be parsed: {', '.join(broken)}; the UI's home page shows why")
    there = {dag_id for dag_id, _, is_stale in rows if not is_stale}
    if absent := [name for name in names if name not in there]:
        raise Problem(
            f"not parsed: {', '.join(absent)}; start the DAG processor, and check that "
            "dags/ is Airflow's dags folder or in it"
        )
    if paused := sorted(dag_id for dag_id, is_paused, _ in rows if is_paused):
        raise Unsure(f"paused: {', '.join(paused)}; unpause them in the UI once you want their schedules")
    return f"{', '.join(names)} are there and not paused"


def _copy(site: SiteSettings) -> str:
    if site.copy_to is None:
        return "the site has none"
    destination = destination_of(site.copy_to, site.copy_dataset)
    if find_spec("dlt") is None:
        raise Problem("the package dlt is not installed here: install the extra [copy] where tasks run")
    return f"to {destination.name} ({destination.kind}), schema {destination.dataset}"


def _time_zone(site: SiteSettings) -> str:
    default = conf.get("core", "default_timezone", fallback="utc")
    now = datetime.now(ZoneInfo(site.time_zone))
    return (
        f"schedules and deliver_until are in {site.time_zone}, where it is {now:%H:%M}; Airflow's default is "
        f"{default}, this machine's {time.strftime('%Z')}"
    )
