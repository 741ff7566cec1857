"""Find out which list filters a site supports, and store the result.

Only newer documentation describes filters, and a server may ignore one that it does not know: then every
certificate would seem to belong to the learner in the query. So a filter is trusted only after a query that
must return nothing has returned nothing, while the unfiltered list is not empty.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from springest.api.client import Pages, SpringestClient
from springest.errors import NotFound, Rejected, UnexpectedStatus
from springest.site import Site

log = logging.getLogger(__name__)

ASKED_AGAIN_DAYS: Final = 30
NO_CERTIFICATION: Final = 2_147_483_647
"""The largest number of a 32-bit column."""
IN_THE_FUTURE: Final = timedelta(days=3)

_KNOWN: Final = text(
    "SELECT is_honoured FROM springest.filter_support WHERE site = :site AND filter = :filter"
    " AND checked_at > clock_timestamp() - make_interval(days => :days)"
)
_REMEMBER: Final = text(
    "INSERT INTO springest.filter_support (site, filter, is_honoured, evidence)"
    " VALUES (:site, :filter, :is_honoured, :evidence)"
    " ON CONFLICT (site, filter) DO UPDATE SET is_honoured = excluded.is_honoured,"
    " evidence = excluded.evidence, checked_at = excluded.checked_at"
)
_IS_ANYTHING_SHOWN: Final = text(
    "SELECT EXISTS (SELECT FROM springest.snapshot WHERE site = :site AND complete)"
    " AND EXISTS (SELECT FROM springest.remote_certificate WHERE site = :site AND lacked_at IS NULL)"
)


class Filter(StrEnum):
    """A parameter of GET certificates."""

    EMAIL = "email"
    CREATED_FROM = "created_from"
    CERTIFICATION_ID = "certification_id"


class Answer(StrEnum):
    """Whether a site supports a filter."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    """Ignored, disabled or refused."""
    PLAUSIBLE = "plausible"
    """The impossible query returned nothing; the result is not stored yet."""


@dataclass(slots=True)
class Filters:
    """Looks up or tests which filters one site supports.

    :param requests: number of GETs so far.
    """

    engine: AsyncEngine
    client: SpringestClient
    site: Site
    requests: int = 0

    async def ask(self, wanted: Filter, *, still: bool = False) -> Answer:
        """Return whether a site supports a filter; test it if that is not known.

        :param still: repeat the impossible query although the filter was supported before.
        :raises ApiError: the query failed.
        """
        if wanted.value not in self.site.list_filters:
            return Answer.IGNORED
        named = {"site": self.site.name, "filter": wanted.value}
        async with self.engine.connect() as connection:
            row = (await connection.execute(_KNOWN, {**named, "days": ASKED_AGAIN_DAYS})).first()
            if row is not None and not (still and row.is_honoured):
                return Answer.HONOURED if row.is_honoured else Answer.IGNORED
            if not (await connection.execute(_IS_ANYTHING_SHOWN, {"site": self.site.name})).scalar_one():
                return Answer.IGNORED  # an empty result would prove nothing; try another night
        found = await self._find_out(wanted)
        return Answer.HONOURED if row is not None and found is Answer.PLAUSIBLE else found

    async def is_honoured(self, wanted: Filter) -> bool:
        """Return whether a filter narrows the list; an empty result of an impossible query is enough."""
        answer = await self.ask(wanted)
        if answer is Answer.PLAUSIBLE:
            await self.remember(wanted, honoured=True, evidence="an impossible query returned nothing")
        return answer is not Answer.IGNORED

    async def remember(self, wanted: Filter, *, honoured: bool, evidence: str) -> None:
        """Store the result of a test."""
        log.info("The site %s the filter %s: %s", "supports" if honoured else "ignores", wanted, evidence)
        async with self.engine.begin() as connection:
            values = {"site": self.site.name, "filter": wanted.value, "is_honoured": honoured}
            await connection.execute(_REMEMBER, {**values, "evidence": evidence})

    async def _find_out(self, wanted: Filter) -> Answer:
        impossible: dict[Filter, Any] = {
            Filter.EMAIL: f"nobody.{secrets.token_hex(16)}@example.invalid",
            Filter.CREATED_FROM: (datetime.now(UTC) + IN_THE_FUTURE).date(),
            Filter.CERTIFICATION_ID: NO_CERTIFICATION,
        }
        self.requests += 1
        try:
            rows = await first_rows(self.client.certificates(**{wanted.value: impossible[wanted]}, size=2))
        except (NotFound, Rejected, UnexpectedStatus) as error:
            await self.remember(wanted, honoured=False, evidence=f"the response was {error.status}")
            return Answer.IGNORED
        if rows:
            await self.remember(wanted, honoured=False, evidence="an impossible query returned rows")
            return Answer.IGNORED
        return Answer.PLAUSIBLE


async def first_rows(pages: Pages[Any]) -> list[Any]:
    """Return the rows of a list's first page."""
    async with aclosing(pages.__aiter__()) as reading:
        page = await anext(reading, None)
    return list(page.items) if page is not None else []
