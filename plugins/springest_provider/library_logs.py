"""Keep the names of documents out of the logs of the libraries that read them."""

from __future__ import annotations

import logging
from typing import Final

_LEVELS: Final = {
    "azure.core.pipeline.policies.http_logging_policy": logging.WARNING,
    "urllib3": logging.ERROR,
    "gcsfs": logging.CRITICAL,
}
"""Levels above the records with names: Azure's URL of each request, urllib3's URL with its query of each
request that it repeats, and gcsfs's text of each error, which it raises as well."""


def keep_names_out() -> None:
    """Set the levels again, since Airflow configures the loggers of each task."""
    for name, level in _LEVELS.items():
        logger = logging.getLogger(name)
        if logger.level != level:  # setting it clears the caches of all loggers, which takes 0.1 ms
            logger.setLevel(level)
