"""Figures of a site for monitoring systems."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

from springest.db.statements import load_sql
from springest.site import Site

_METRICS: Final = text(load_sql("review/metrics"))


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures of a site.

    :param accepted: attempts of this try of the task by outcome; so are the next three.
    :param oldest_unknown_seconds: age of the oldest certificate with an unknown outcome; 0 without any.
    :param share_of_cap: requests of the last hour as a share of the cap, 0 to 1.
    :param median_verification_seconds: from sending to being shown, over the certificates that became visible
        in the last day; ``None`` without any.
    """

    accepted: int
    refused: int
    unknown: int
    not_stored: int
    queue_length: int
    oldest_unknown_seconds: float
    share_of_cap: float
    median_verification_seconds: float | None
    p90_verification_seconds: float | None


def measure(connection: Connection, site: Site, *, run_id: str, since: datetime) -> Metrics:
    """Return the figures.

    :param since: start of this try of the task.
    """
    values = {
        "site": site.name,
        "run_id": run_id,
        "since": since,
        "requests_per_hour": site.requests_per_hour,
    }
    return Metrics(**connection.execute(_METRICS, values).mappings().one())
