"""What a delivering run works with."""

from __future__ import annotations

from dataclasses import dataclass

from springest.api.client import SpringestClient
from springest.delivery.high_water import HighWater
from springest.delivery.repository import SendingLedger
from springest.documents.opener import DocumentStore
from springest.rate_limit.limiter import RateLimiter
from springest.site import Site
from springest.staging.stage import Stager


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run works with.

    :param run_id: the Airflow run.
    """

    site: Site
    run_id: str
    ledger: SendingLedger
    limiter: RateLimiter
    client: SpringestClient
    stager: Stager
    documents: DocumentStore
    high_water: HighWater
