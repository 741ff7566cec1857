"""Look up owners, if the site reveals them only by a filter: GET certificates of one e-mail address.

The result belongs to that learner, which resolves ties by proof. An address is read from the source just
before it is used, and never stored. The results form a partial snapshot, which confirms and never denies. A
site that ignores the filter, or compares parts of addresses, is detected before any result is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from springest.api.client import SpringestClient
from springest.api.models import Certificate
from springest.db.statements import load_sql
from springest.errors import ApiError
from springest.identity import Pseudonyms
from springest.privacy.erasure import ErasedLearners
from springest.site import Site
from springest.snapshot import snapshot
from springest.snapshot.filters import Answer, Filter, Filters, first_rows

log = logging.getLogger(__name__)

ASKED_AGAIN_HOURS: Final = 20
MOST_CERTIFICATES: Final = 500
"""Limit per learner; a site that returns more does not apply the filter."""

_QUESTIONS: Final = text(load_sql("snapshot/questions"))
_CONTRADICTIONS: Final = text(load_sql("snapshot/contradictions"))
_ASKED: Final = text(
    "INSERT INTO springest.owner_lookup (delivery_id, certificates)"
    " SELECT delivery_id, :certificates FROM springest.delivery WHERE delivery_key = :delivery_key"
    " ON CONFLICT (delivery_id) DO UPDATE"
    " SET asked_at = excluded.asked_at, certificates = excluded.certificates"
)

Question = tuple[str, str, str]
"""A delivery's key, its training, and its learner's reference."""
Addresses = Callable[[Sequence[Question]], Mapping[str, str]]
"""Returns e-mail addresses by delivery key, without learners whose address has changed."""


class _NotExact(Exception):
    """The filter returns certificates of other learners."""


@dataclass(frozen=True, slots=True)
class OwnersReport:
    """The result of the look-ups.

    :param asked: number of learners looked up.
    :param certificates: number of certificates whose owner is now known.
    :param requests: number of GETs.
    """

    asked: int = 0
    certificates: int = 0
    requests: int = 0


@dataclass(slots=True)
class _Lookups:
    """Results so far."""

    erased: ErasedLearners
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    asked: dict[str, int | None] = field(default_factory=dict)
    requests: int = 0


@dataclass(slots=True)
class OwnerLookup:
    """Looks up the owners of one site's open deliveries, within a budget of GETs.

    :param addresses: looks up e-mail addresses in the source when they are needed.
    """

    engine: AsyncEngine
    client: SpringestClient
    site: Site
    pseudonyms: Pseudonyms
    addresses: Addresses

    async def run(self, run_id: str) -> OwnersReport:
        """Look up owners, and store the results.

        If the site stops responding, the look-ups end; earlier results are kept.
        """
        budget = self.site.owner_reads_per_run
        if budget < 1 or Filter.EMAIL not in self.site.list_filters:
            return OwnersReport()
        async with self.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            questions = await self._questions(connection, budget)
            if not questions:
                return OwnersReport()
            return await self._ask(connection, questions, budget, run_id)

    async def _questions(self, connection: AsyncConnection, budget: int) -> list[Question]:
        values = {"site": self.site.name, "again_hours": ASKED_AGAIN_HOURS, "most": budget}
        return [(row[0], row[1], row[2]) for row in await connection.execute(_QUESTIONS, values)]

    async def _ask(
        self, connection: AsyncConnection, questions: list[Question], budget: int, run_id: str
    ) -> OwnersReport:
        filters = Filters(self.engine, self.client, self.site)
        lookups = _Lookups(await snapshot.load_erased(connection, self.pseudonyms))
        try:
            # One that is ignored by now would prove what is not so.
            known = await filters.ask(Filter.EMAIL, still=True)
            if known is Answer.IGNORED:
                return OwnersReport(requests=filters.requests)
            begun = await snapshot.begin(connection, self.site.name, run_id)
            found = self.addresses(questions)
            lookups.requests = filters.requests
            for key, _, _ in questions:
                if lookups.requests >= budget:
                    break
                known = await self._ask_one(key, found.get(key), known, filters, lookups)
        except _NotExact:
            why = "it returns certificates of other learners"
            await filters.remember(Filter.EMAIL, honoured=False, evidence=why)
            return OwnersReport(requests=lookups.requests)
        except ApiError as error:
            log.warning("The look-up of owners ends in this run: %s", error)
            if not lookups.asked:
                return OwnersReport(requests=max(lookups.requests, filters.requests))
        return await self._store(connection, begun, filters, lookups, trusted=known is Answer.HONOURED)

    async def _ask_one(
        self, key: str, address: str | None, known: Answer, filters: Filters, lookups: _Lookups
    ) -> Answer:
        """Look up one learner; the first result with rows shows whether the filter is exact."""
        if address is None:
            lookups.asked[key] = None
            return known
        certificates = await self._certificates_of(address, lookups)
        if certificates and known is Answer.PLAUSIBLE:
            await self._try_parts_of(address, {certificate.id for certificate in certificates}, lookups)
            await filters.remember(
                Filter.EMAIL,
                honoured=True,
                evidence="an invented address has no certificates, and parts of a real one do not match it",
            )
            known = Answer.HONOURED
        lookups.asked[key] = len(certificates)
        reference = lookups.erased.owner(address)
        for certificate in certificates:
            values = snapshot.values_of(certificate, lookups.erased)
            lookups.rows.append(values if certificate.user_email else (*values[:-2], reference, "filter"))
        return known

    async def _certificates_of(self, address: str, lookups: _Lookups) -> list[Certificate]:
        pages = self.client.certificates(email=address)
        certificates: list[Certificate] = []
        async with aclosing(aiter(pages)) as reading:
            async for page in reading:
                certificates.extend(page.items)
                if len(certificates) > MOST_CERTIFICATES:
                    raise _NotExact
        lookups.requests += pages.evidence.requests
        return certificates

    async def _try_parts_of(self, address: str, ids: set[int], lookups: _Lookups) -> None:
        """Check that the filter compares whole addresses: ``na@…`` must not match ``ana@…``."""
        for part in (address[1:], address[:-1]):
            lookups.requests += 1
            try:
                rows = await first_rows(self.client.certificates(email=part))
            except ApiError as error:
                if error.status is None:
                    raise
                continue  # refused as invalid, so it does not match another address
            if ids & {row.id for row in rows}:
                raise _NotExact

    async def _store(
        self,
        connection: AsyncConnection,
        begun: snapshot.Begun,
        filters: Filters,
        lookups: _Lookups,
        *,
        trusted: bool,
    ) -> OwnersReport:
        rows = lookups.rows if trusted else []
        await snapshot.gather_rows(connection, rows)
        wrong = await connection.execute(_CONTRADICTIONS, {"site": self.site.name})
        if wrong.scalar_one():
            why = "it returned a certificate of one learner for another"
            await filters.remember(Filter.EMAIL, honoured=False, evidence=why)
            return OwnersReport(asked=0, requests=lookups.requests)
        detail = f"{len(lookups.asked)} learners were looked up"
        evidence = snapshot.Reading(distinct_ids=len({row[0] for row in rows}), requests=lookups.requests)
        await snapshot.merge(
            connection,
            self.site.name,
            begun,
            evidence,
            scope="owners",
            detail=detail,
            pseudonyms=self.pseudonyms,
        )
        for key, certificates in lookups.asked.items():
            await connection.execute(_ASKED, {"delivery_key": key, "certificates": certificates})
        return OwnersReport(len(lookups.asked), len(rows), lookups.requests)
