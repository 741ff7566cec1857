"""What a delivering run works with."""

from __future__ import annotations

from dataclasses import dataclass

from include.springest.api.client import SpringestClient
from include.springest.delivery.high_water import HighWater
from include.springest.documents import DocumentStore
from include.springest.ledger.sending import SendingLedger
from include.springest.limiter import RateLimiter
from include.springest.site import Site
from include.springest.staging.stage import Stager


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
