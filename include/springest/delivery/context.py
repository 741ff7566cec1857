"""The collaborators of a delivery run."""

from __future__ import annotations

from dataclasses import dataclass

from springest.api.client import SpringestClient
from springest.delivery.attempt_watermark import AttemptWatermark
from springest.delivery.repository import DeliveryRepository
from springest.documents.opener import DocumentStore
from springest.rate_limit.limiter import RateLimiter
from springest.site import Site
from springest.staging.stage import Stager


@dataclass(frozen=True, slots=True)
class DeliveryContext:
    """Everything outside the process that a run works with.

    :param run_id: id of the Airflow DAG run.
    """

    site: Site
    run_id: str
    ledger: DeliveryRepository
    limiter: RateLimiter
    client: SpringestClient
    stager: Stager
    documents: DocumentStore
    watermark: AttemptWatermark
