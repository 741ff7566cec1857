"""Checks of the systems that an installation uses: Springest, the warehouse, the source, the documents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, TypeVar

import aiohttp
from sqlalchemy import text

from springest.api.client import SpringestClient
from springest.db.roles import PUBLISHER, WRITER, RoleNames
from springest.errors import ApiError
from springest.privacy.secret import secrets_in_force
from springest.staging.site_identity import require_same_host
from springest.staging.window import load_progress
from springest_provider import factories
from springest_provider.doctor.checkup import Check, Problem, Unsure
from springest_provider.doctor.installation import Installation
from springest_provider.doctor.sources import (
    document_check,
    for_each_source,
    ids_check,
    sample_check,
    source_check,
)
from springest_provider.object_storage import root_exists

T = TypeVar("T")
CLOCK_TOLERANCE: Final = timedelta(seconds=5)
CLOCK_LIMIT: Final = timedelta(minutes=1)
_SECRET: Final = text("SELECT salt, verifier FROM springest.learner_secret")
_SERVER: Final = text(
    "SELECT current_setting('server_version'), clock_timestamp(), pg_is_in_recovery(), current_user"
)
_ROLES: Final = text("SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regrole(name) IS NULL")
_UNREADABLE: Final = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) AS name"
    " WHERE NOT has_table_privilege('springest.' || quote_ident(name), 'SELECT') ORDER BY name"
)
_WRITABLE: Final = text("SELECT has_table_privilege('springest.delivery_attempt', 'INSERT')")


def connection_checks(installed: Installation) -> Sequence[Check]:
    """Return the checks, each after those on which it depends."""
    return (
        ("connection of Springest", lambda: _site(installed)),
        ("key for certificates", lambda: _key(installed, "certificates")),
        ("key for certifications", lambda: _key(installed, "certifications")),
        ("clock of Springest", lambda: _springest_clock(installed)),
        ("warehouse", lambda: _warehouse(installed)),
        ("clock of the warehouse", lambda: _warehouse_clock(installed)),
        ("warehouse roles", lambda: _roles(installed)),
        ("warehouse is this site's", lambda: _same_host(installed)),
        ("learner secret", lambda: _secret(installed)),
        *for_each_source(installed, {"source query": source_check, "sample row": sample_check}),
        *(
            [("ids of the sources", lambda: ids_check(installed))]
            if len(installed.sources.listed) > 1
            else []
        ),
        ("document roots", lambda: _roots(installed)),
        *for_each_source(installed, {"sample document": document_check}),
        ("begun", lambda: _begun(installed)),
    )


def _site(installed: Installation) -> str:
    site = installed.site
    return f"{site.host}, at most {site.requests_per_hour:,} requests an hour"


def _key(installed: Installation, of: str) -> str:
    site = installed.site
    if of == "certifications" and not site.certifications_api_key:
        raise Problem(
            "the connection's field 'API key for certifications' is empty: Springest gives certifications "
            "a key "
            "of their own; ask Springest for it"
        )

    async def ask() -> int:
        async with SpringestClient(site) as client:
            pages = client.certificates(size=1) if of == "certificates" else client.certifications(size=1)
            async for page in pages:
                return len(page.items)
        return 0

    try:
        asyncio.run(ask())
    except ApiError as error:
        raise Problem(f"{error}. Check the host and this key in the connection") from None
    return "Springest accepts it"


def _springest_clock(installed: Installation) -> str:
    site = installed.site

    async def ask() -> str | None:
        # Without a key: every response has a date, whatever its status is.
        timeout = aiohttp.ClientTimeout(total=site.timeouts.total)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(site.base_url, allow_redirects=False) as response,
        ):
            return response.headers.get("Date")

    try:
        seen = asyncio.run(ask())
    except (aiohttp.ClientError, OSError) as error:
        raise Problem(f"{site.host} does not respond ({type(error).__name__}): check the host") from None
    if seen is None:
        return "its responses have no Date, so there is nothing to compare with"
    return _compare(parsedate_to_datetime(seen), "Springest")


def _compare(moment: datetime, whose: str) -> str:
    apart = abs(datetime.now(UTC) - moment.astimezone(UTC))
    detail = f"this machine and {whose} are {apart.total_seconds():.0f} s apart"
    if apart > CLOCK_LIMIT:
        raise Problem(f"{detail}: set the clocks by NTP")
    if apart > CLOCK_TOLERANCE:
        raise Unsure(f"{detail}: set the clocks by NTP")
    return detail


def _warehouse(installed: Installation) -> str:
    with installed.warehouse.connect() as connection:
        version, _, standby, role = connection.execute(_SERVER).one()
    if standby:
        raise Problem("the warehouse is a read-only standby: connect to the primary")
    return f"PostgreSQL {version}, schema up to date, connected as role {role}"


def _warehouse_clock(installed: Installation) -> str:
    with installed.warehouse.connect() as connection:
        _, clock, _, _ = connection.execute(_SERVER).one()
    return _compare(clock, "the warehouse")


def _roles(installed: Installation) -> str:
    names = RoleNames()
    wanted = [names.writer, names.publisher, names.reader]
    with installed.warehouse.connect() as connection:
        relations = sorted({*WRITER, *PUBLISHER})
        lacking = list(connection.execute(_UNREADABLE, {"names": relations}).scalars())
        can_write = connection.execute(_WRITABLE).scalar_one()
        absent = list(connection.execute(_ROLES, {"names": wanted}).scalars())
    if lacking or not can_write:
        problem = f"may not read {', '.join(lacking)}" if lacking else "may not record attempts"
        raise Problem(
            f"the connection's role {problem}: grant it {names.writer} and {names.publisher}, which "
            "`bin/springest migrate --roles` makes"
        )
    if absent:
        raise Unsure(
            f"there is no role {', '.join(absent)} (another prefix is fine): run "
            "`bin/springest migrate --roles`, which makes those of writers, publishers and analysts"
        )
    return "the connection's role has the rights it needs; the roles are there"


def _same_host(installed: Installation) -> str:
    require_same_host(installed.warehouse, installed.site)
    return "nothing in it was sent to another Springest"


def _secret(installed: Installation) -> str:
    pseudonyms = installed.pseudonyms
    with installed.warehouse.connect() as connection:
        row = connection.execute(_SECRET).one_or_none()
    if row is None:
        return "long enough; the warehouse has no learner reference yet"
    count = secrets_in_force(row.verifier, row.salt, pseudonyms)
    if count == 0:
        raise Problem(
            "the Variable springest_learner_secret is not the one that the warehouse was filled with: "
            "put the former secret back"
        )
    if count < len(pseudonyms.secrets):
        raise Problem("the Variable has a new secret: run `bin/springest rotate-secret`")
    return f"the one the warehouse was filled with (fingerprint {row.verifier[:8]})"


def _roots(installed: Installation) -> str:
    wrong = []
    for root in installed.documents.roots:
        if root.address.is_local:
            path = Path(root.address.path)
            if not path.is_dir():
                wrong.append(f"{root.shown} is no folder on this machine: mount it, on all workers")
            elif not os.access(path, os.R_OK | os.X_OK):
                wrong.append(f"{root.shown} can't be read by this user: change its permissions")
        elif not root.address.is_link and not root_exists(root):
            wrong.append(f"{root.shown} is not there: correct the root, or create the bucket or folder")
    where, _ = factories.document_roots(installed.site.name)
    if wrong:
        raise Problem(f"{'; '.join(wrong)}. They are in {where}")
    return f"{', '.join(root.shown for root in installed.documents.roots)}, by {where}"


def _begun(installed: Installation) -> str:
    with installed.warehouse.connect() as connection:
        progress = load_progress(connection, installed.site.name)
    if progress is None:
        raise Unsure(
            "the site has not begun, so nothing is sent by schedule: try a few certificates first, then "
            "begin it; "
            "see 'Begin small' in README"
        )
    return (
        f"from {progress.began_from:%Y-%m-%d %H:%M} UTC; staged up to {progress.watermark:%Y-%m-%d %H:%M} UTC"
    )
