"""The trigger form of ``springest_deliver``: what a person may ask of one run."""

from __future__ import annotations

from typing import Any, Final

from airflow.sdk import Param

from springest_provider.site_settings import SiteSettings

_PARAMS: Final = {
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Send and change nothing. The log of the task `stage` then says which certificates would "
        "be sent, which would be set aside and why, and how long sending takes.",
    ),
    "limit": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Send at most",
        description="Number of certificates. The others stay in the queue for the next run. Empty: no limit.",
    ),
    "certification_ids": Param(
        None,
        type=["null", "array"],
        title="Only these certifications",
        description="Numbers of certifications, one a line. Certificates of others stay in the queue. "
        "Empty: all.",
    ),
    "window_start": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Read trainings changed from",
        description="Only trainings whose `updated_at` is at or after this moment. Needs the end as well. "
        "Empty: from where the last run stopped.",
    ),
    "window_end": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Read trainings changed before",
        description="End of that window. Needs the start as well. Empty: until now.",
    ),
    "expected_certificates": Param(
        None,
        type=["null", "integer"],
        minimum=0,
        title="Expected certificates",
        description="For a run that the volume check refused because it is far larger than usual: the number "
        "of certificates that you agree to send. Empty: such a run sends nothing.",
    ),
    "begin_from": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Begin the site from",
        description="Only once, for a site that has not begun: send trainings changed from this moment "
        "on, now and every night. See *Begin* in the README. Otherwise leave it empty.",
    ),
}


def params_of(site: SiteSettings) -> dict[str, Param]:
    """Return the form's fields for a site."""
    return {
        **_PARAMS,
        "deliver_until": Param(
            site.deliver_until,
            type="string",
            pattern="^[0-2][0-9]:[0-5][0-9]$",
            title="Stop sending at",
            description=f"Time of day in {site.time_zone}. Unsent certificates stay in the queue for "
            "the next run.",
        ),
    }


def given_to_both(site: SiteSettings) -> dict[str, Any]:
    """Return the arguments of the stage task and of the deliver task: a dry run is made by the first one."""
    return {
        "is_dry_run": "{{ params.dry_run }}",
        "limit": "{{ params.limit or '' }}",
        "certification_ids": "{{ (params.certification_ids or []) | tojson }}",
        "expected_certificates": "{{ params.expected_certificates or '' }}",
        "deliver_until": "{{ params.deliver_until }}",
        "time_zone": site.time_zone,
    }
