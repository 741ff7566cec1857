"""Provider metadata for Airflow: the connection type ``springest`` and its form."""

from __future__ import annotations

from typing import Any

_TEXT = ["string", "null"]
_FIELDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "certifications_api_key": (
        "API key for certifications",
        "Certifications need a separate key",
        {"type": _TEXT, "format": "password"},
    ),
    "post_path": (
        "Path to post certificates to",
        "/certificates.xml by default; newer documentation says /users/certificates.xml",
        {"type": _TEXT},
    ),
    "booking_field": ("Name of the booking's field", "booking_id by default", {"type": _TEXT}),
    "requests_per_hour": (
        "Requests per hour",
        "Rate limit of the key, GETs and POSTs together; 4000 by default",
        {"type": ["integer", "null"], "minimum": 1},
    ),
    "page_size": ("Rows per page", "100 by default", {"type": ["integer", "null"], "minimum": 1}),
    "timeout": (
        "Time-out in seconds",
        'A number, or {"connect": 10, "read": 60, "total": 300}',
        {"type": _TEXT},
    ),
    "accepted_types": ("Media types that may be sent", "application/pdf by default", {"type": _TEXT}),
    "document_checks": (
        "Checks of documents",
        "whole, pages, no_password by default; false: none of these",
        {"type": _TEXT},
    ),
    "send_unlisted": (
        "Send for unlisted certifications",
        "false, true, or a JSON list of certification ids such as [101, 102]",
        {"type": _TEXT},
    ),
    "catalogue_lists_verified_only": (
        "The list of certifications contains verified ones only",
        "Set this only if Springest confirms it: a certificate of a listed certification that is not shown "
        "then counts as missing",
        {"type": ["boolean", "null"]},
    ),
    "exclusive_uploader": (
        "Nobody else uploads to this site",
        "Allows certificates without an id to be inferred",
        {"type": ["boolean", "null"]},
    ),
    "shared_trainings": (
        "Trainings may go to other sites too",
        "Otherwise a training that another site sends is held on this one",
        {"type": ["boolean", "null"]},
    ),
    "verified_statuses": ("Statuses that mean verified", "verified by default", {"type": _TEXT}),
    "cutover_date": (
        "Cutover date",
        "Trainings completed before this day (UTC) are never sent automatically: they are adopted where "
        "Springest proves to have their certificate, and held otherwise",
        {"type": _TEXT, "format": "date"},
    ),
    "list_filters": (
        "Filters of the list that may be tried",
        "email, created_from, certification_id by default, used if the site supports them; false: none",
        {"type": _TEXT},
    ),
    "owner_reads_per_run": (
        "Owner look-ups per run",
        "GETs by a learner's e-mail address to find the owner of a certificate; 50 by default, 0 for none",
        {"type": ["integer", "null"], "minimum": 0},
    ),
    "throttled_takes_nothing": (
        "Rate limit stores nothing",
        "The site is known not to store a certificate if it responds with 429, or 503 and Retry-After; "
        "a 403 or a maintenance page leaves the outcome unknown",
        {"type": ["boolean", "null"]},
    ),
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata; the entry point ``apache_airflow_provider`` calls it."""
    return {
        "package-name": "airflow-provider-springest",
        "name": "Springest",
        "description": "Deliver training certificates to Springest, and know the status of each one.",
        "hooks": [
            {"integration-name": "Springest", "python-modules": ["springest_provider.hooks.springest"]}
        ],
        "operators": [
            {
                "integration-name": "Springest",
                "python-modules": [
                    "springest_provider.operators.catalogue",
                    "springest_provider.operators.deliver",
                    "springest_provider.operators.reconcile",
                ],
            }
        ],
        "notifications": [
            "springest_provider.notifications.notifiers.SpringestSummaryNotifier",
            "springest_provider.notifications.notifiers.SpringestFailureNotifier",
            "springest_provider.notifications.notifiers.SpringestDeadlineNotifier",
        ],
        "connection-types": [
            {
                "connection-type": "springest",
                "hook-name": "Springest",
                "hook-class-name": "springest_provider.hooks.springest.SpringestHook",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "extra"],
                    "relabeling": {"password": "API key for certificates", "host": "Host or country"},
                    "placeholders": {"host": "nl, uk, de, com, be, or https://NAME.api.go.springest.nl"},
                },
                "conn-fields": {
                    name: {"label": label, "description": description, "schema": schema}
                    for name, (label, description, schema) in _FIELDS.items()
                },
            }
        ],
    }
