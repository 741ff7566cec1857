"""Dry runs over Airflow's connections and Variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from springest.delivery.plan import Plan, Planner, Selection
from springest.delivery.plan_words import in_words
from springest.delivery.run import DeliverySettings
from springest.privacy.secret import secret_in_use
from springest.redaction import Redactor, show_unseen
from springest.site import Site
from springest_provider import factories


def make_plan(
    site: Site,
    run_id: str,
    which: Selection,
    *,
    sources: Sequence[factories.SourceQuery],
    warehouse_conn_id: str,
    settings: DeliverySettings,
    unknown_since: datetime | None = None,
) -> Plan:
    """
    Return what a run would send and set aside; nothing is sent, and nothing stays changed.

    :param sources: the site's sources.
    :param unknown_since: as of ``counted_since``.
    :raises ConfigurationError: a connection or a Variable is not what it should be.
    """
    pseudonyms = factories.pseudonyms()
    with (
        factories.warehouse(warehouse_conn_id) as engine,
        factories.reader(sources) as reader,
        secret_in_use(engine, pseudonyms),
    ):
        planner = Planner(
            engine,
            site=site,
            source=reader,
            pseudonyms=pseudonyms,
            documents=factories.documents(site),
            keeper=factories.AttemptKeeper,
        )
        return planner.plan(run_id, which, settings=settings, unknown_since=unknown_since)


def log_lines(plan: Plan, site: Site, *, until: str) -> Iterator[str]:
    """Yield the plan as lines for a log, without keys and addresses."""
    redactor = Redactor(site.secrets)
    for line in in_words(plan, until=until):
        yield show_unseen(redactor.redact(line))
