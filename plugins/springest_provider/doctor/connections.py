"""Checks of the systems that an installation uses: Springest, the warehouse, the source, the documents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
from sqlalchemy import Engine, text

from springest.api.client import SpringestClient
from springest.db.roles import PUBLISHER, WRITER, RoleNames
from springest.documents.opener import DocumentStore
from springest.errors import ApiError, SpringestError
from springest.identity import Pseudonyms
from springest.privacy.secret import secrets_in_force
from springest.site import Site
from springest.source.contract import COLUMNS, read_row
from springest.source.reader import Row, SourceReader, Window
from springest.staging.site_identity import require_same_host
from springest.staging.window import load_progress
from springest_provider import factories
from springest_provider.cli.session import Source
from springest_provider.doctor.checkup import Check, Missing, Problem, Unsure
from springest_provider.hooks.springest import SpringestHook
from springest_provider.object_storage import root_exists

T = TypeVar("T")
SAMPLE: Final = timedelta(days=30)
"""How far back in the source a sample row is looked for."""
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


@dataclass
class Installation:
    """The systems to check; each is opened once, when it is first needed."""

    springest_conn_id: str
    warehouse_conn_id: str
    source: Source
    _stack: ExitStack = field(default_factory=ExitStack)
    _found: dict[str, Any] = field(default_factory=dict)

    def close(self) -> None:
        """Close the opened systems."""
        self._stack.close()

    @property
    def site(self) -> Site:
        """The site."""
        return self._part("Springest connection", lambda: SpringestHook(self.springest_conn_id).get_site())

    @property
    def warehouse(self) -> Engine:
        """The warehouse, with the required schema."""
        return self._part(
            "warehouse", lambda: self._stack.enter_context(factories.warehouse(self.warehouse_conn_id))
        )

    @property
    def pseudonyms(self) -> Pseudonyms:
        """The learner secret."""
        return self._part("learner secret", factories.pseudonyms)

    @property
    def documents(self) -> DocumentStore:
        """The documents' store."""
        return self._part("document roots", lambda: factories.documents(self.site))

    @property
    def reader(self) -> SourceReader:
        """The source behind the query."""
        return self._part("source", lambda: self._stack.enter_context(self.source.reader()))

    @property
    def sample(self) -> Row:
        """A row of the source."""
        found = self._found.get("sample row")
        if found is None:
            raise Missing("there is no sample row")
        row: Row = found
        return row

    def keep_sample(self, row: Row) -> None:
        """Keep a row for the checks that follow."""
        self._found["sample row"] = row

    def _part(self, name: str, make: Callable[[], T]) -> T:
        """Return a part; the check that meets it first gets its error, and the others are skipped."""
        if name not in self._found:
            try:
                self._found[name] = make()
            except Exception:
                self._found[name] = None
                raise
        found: T | None = self._found[name]
        if found is None:
            raise Missing(f"needs the {name}, which has a problem itself")
        return found


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
        ("source query", lambda: _source(installed)),
        ("sample row", lambda: _sample(installed)),
        ("document roots", lambda: _roots(installed)),
        ("sample document", lambda: _document(installed)),
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


def _source(installed: Installation) -> str:
    now = datetime.now(UTC)
    window = Window(now - SAMPLE, now)
    with installed.reader.open_window(window) as (count, batches):
        first = next(batches, [])
    if not first:
        raise Unsure(
            f"its columns are there; it gives no row whose updated_at is in the last {SAMPLE.days} days, "
            "so their "
            "types are not checked: check the query and its window if there should be some"
        )
    installed.keep_sample(first[0])
    if lost := installed.reader.not_found_again(window):
        raise Problem(
            f"{len(lost)} rows are not found by their training_id: let the query compute it from the row "
            "alone, "
            "and use the window only to filter updated_at"
        )
    return f"{count:,} rows in the last {SAMPLE.days} days; {_types(first[0])}"


def _types(row: Mapping[str, Any]) -> str:
    """Describe the type of each column, without values."""
    kinds = {name: row[name] for name in COLUMNS if name in row}
    return ", ".join(
        f"{name} {'empty' if value is None else type(value).__name__}" for name, value in kinds.items()
    )


def _sample(installed: Installation) -> str:
    training = read_row(installed.sample, site=installed.site.name, pseudonyms=installed.pseudonyms)
    if training.defects:
        raise Unsure(
            f"training {training.training_id}: " + "; ".join(defect.detail for defect in training.defects)
        )
    return f"training {training.training_id} can be read"


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


def _document(installed: Installation) -> str:
    training = read_row(installed.sample, site=installed.site.name, pseudonyms=installed.pseudonyms)
    if training.certificate_uri is None:
        raise Unsure(f"training {training.training_id} has no document")
    try:
        checked = installed.documents.probe(training.certificate_uri)
    except SpringestError as error:
        raise Unsure(f"that of training {training.training_id} can't be sent: {error}") from None
    return f"that of training {training.training_id} can be sent ({checked.checked.partition(' ')[0]})"


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
