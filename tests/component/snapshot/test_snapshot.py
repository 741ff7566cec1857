"""Gathering a snapshot's rows: what was read is what is stored, at the edges as well."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from springest.api.models import Certificate
from springest.privacy.erasure import ErasedLearners
from springest.snapshot.snapshot import gather_rows, values_of
from tests.factories import PSEUDONYMS

FORGOTTEN = ErasedLearners(PSEUDONYMS, frozenset())
LATEST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-23, minutes=-59)))
EARLIEST = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23, minutes=59)))
COLUMNS = "springest_certificate_id, certification_id, valid_from, valid_until, springest_status"


@pytest.fixture
async def gathered(warehouse):
    """Gather certificates; return what the warehouse holds of them then."""
    engine = create_async_engine(warehouse.url)

    async def gather(*certificates, moment="created_at"):
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await gather_rows(connection, [values_of(certificate, FORGOTTEN) for certificate in certificates])
            query = f"SELECT {COLUMNS}, {moment}, learner_ref, owner_told_by FROM pg_temp.gathered ORDER BY position"  # noqa: E501, S608
            return [tuple(row) for row in await connection.execute(text(query))]

    yield gather
    await engine.dispose()


async def test_every_value_is_stored_as_it_was_read(gathered):
    """Least and largest values, text that COPY has escapes for, and nothing at all."""
    words = "tab\t \\N \\. é \U0001f600 'q' \"\n"
    moment = datetime(2026, 2, 1, 2, 4, 5, 678_901, tzinfo=UTC)
    full = Certificate(2**63 - 1, 2**63 - 1, date(1, 1, 1), date(9999, 12, 31), words, moment, "a@b.nl")
    assert await gathered(full, Certificate(1)) == [
        (*full[:6], PSEUDONYMS.learner_ref("a@b.nl"), "list"),
        (1, *[None] * 7),
    ]


async def test_moments_beyond_pythons_years_are_stored(gathered):
    """Their offset takes them out of the years that Python knows; the warehouse knows more."""
    rows = await gathered(
        Certificate(1, created_at=EARLIEST), Certificate(2, created_at=LATEST), moment="created_at::text"
    )
    assert [row[5] for row in rows] == ["0001-12-31 00:01:00+00 BC", "10000-01-01 23:58:59.999999+00"]


async def test_a_moment_without_a_zone_is_not_stored(gathered):
    """It names none."""
    [row] = await gathered(Certificate(1, created_at=datetime(2026, 2, 1)))  # noqa: DTZ001
    assert row[5] is None
