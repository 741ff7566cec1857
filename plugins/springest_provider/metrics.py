"""Metrics by Airflow's own client: StatsD or OpenTelemetry, as Airflow is configured; without one, none.

docs/operations.md lists them. Each has the tag ``site``. Plain StatsD has no tags, so the metrics of a site
other than the default one begin with ``springest_SITE``.
"""

from __future__ import annotations

from airflow.sdk.observability import stats

from springest.review.metrics import Metrics
from springest_provider.site_settings import suffixed


def emit(site: str, metrics: Metrics) -> None:
    """
    Emit the metrics of a site.

    :param site: its name.
    """
    prefix, tags = suffixed("springest", site), {"site": site}
    counters = {
        "accepted": metrics.accepted,
        "refused": metrics.refused,
        "unknown": metrics.unknown,
        "not_stored": metrics.not_stored,
    }
    for outcome, count in counters.items():
        if count:
            stats.incr(f"{prefix}.deliveries.{outcome}", count, tags=tags)
    gauges = {
        "queue.length": metrics.queue_length,
        "unknown.oldest_seconds": metrics.oldest_unknown_seconds,
        "requests.share_of_cap": metrics.share_of_cap,
        "verification.median_seconds": metrics.median_verification_seconds,
        "verification.p90_seconds": metrics.p90_verification_seconds,
    }
    for name, value in gauges.items():
        if value is not None:
            stats.gauge(f"{prefix}.{name}", value, tags=tags)
