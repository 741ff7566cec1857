"""A small world to run whole nights in: a source, documents, a warehouse and the sandbox, all real."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from demo import source_database
from demo.nights import Training
from sandbox.server import SandboxServer
from sandbox.store import Certification
from springest.api.client import SpringestClient
from springest.catalogue import store_catalogue
from springest.db.roles import RoleNames, grant_roles
from springest.delivery.attempt_watermark import AttemptWatermark
from springest.delivery.context import DeliveryContext
from springest.delivery.repository import DeliveryRepository
from springest.delivery.run import DeliveryRun, DeliverySettings
from springest.delivery.stats import DeliveryReport
from springest.documents.opener import DocumentStore
from springest.identity import Pseudonyms
from springest.rate_limit.limiter import RateLimiter
from springest.site import Site
from springest.snapshot.filters import Filters
from springest.snapshot.owners import OwnerLookup, OwnersReport
from springest.snapshot.scope import plan
from springest.snapshot.snapshot import SnapshotReport, take_snapshot
from springest.source.addresses import addresses_from
from springest.source.reader import SourceReader
from springest.source.several import TrainingSource
from springest.source.window import Window
from springest.staging.stage import Stager, StageReport
from springest.staging.window import begin_site
from tests.factories import PSEUDONYMS, MemoryKeeper, make_training
from tests.verdicts import PublishReport, publish

QUERY = (Path(__file__).parents[2] / "include" / "sql" / "completed_trainings.sql").read_text(
    encoding="utf-8"
)
CERTIFICATIONS = (
    Certification(101, "Service Desk", requires_valid_until=True, verified=True),
    Certification(102, "Project Control", verified=True),
    Certification(105, "Facilitator"),
)


@dataclass
class World:
    """One site's night, driven step by step as the operators do it."""

    sandbox: SandboxServer
    source: Engine
    warehouse_url: str
    folder: Path
    extra: dict[str, Any] = field(default_factory=dict)
    password: str | None = None
    name: str = "default"
    number: int = 0
    has_begun: bool = True
    kept: MemoryKeeper = field(default_factory=MemoryKeeper)
    query: str = QUERY
    parameters: dict[str, Any] = field(default_factory=dict)
    pseudonyms: Pseudonyms = PSEUDONYMS

    def __post_init__(self) -> None:
        # No pool: a worker that is forked off must not share a connection with this process.
        self.warehouse = create_engine(self.warehouse_url, poolclass=NullPool)
        source_database.create_schema(self.source)
        self.folder.mkdir(exist_ok=True)
        if self.has_begun:
            with self.warehouse.begin() as connection:
                begin_site(connection, site=self.name, begin_from=datetime.now(UTC) - timedelta(days=1))

    @property
    def site(self) -> Site:
        return Site.from_connection(
            name=self.name,
            host=self.sandbox.url,
            password=self.password or self.sandbox.state.api_key,
            extra={
                "certifications_api_key": self.sandbox.state.certifications_api_key,
                "requests_per_hour": 100_000_000,
                "send_unlisted": [105],
                "catalogue_lists_verified_only": not self.sandbox.state.profile.unverified_listed,
                "timeout": {"connect": 2, "read": 2, "total": 6},
                **self.extra,
            },
        )

    @property
    def reader(self) -> TrainingSource:
        return SourceReader(self.source, query=self.query, parameters=self.parameters)

    @property
    def stager(self) -> Stager:
        return Stager(
            self.warehouse,
            source=self.reader,
            site=self.site,
            pseudonyms=self.pseudonyms,
            documents=self.documents,
        )

    @property
    def documents(self) -> DocumentStore:
        return DocumentStore.under([str(self.folder)])

    def training(self, **changes: Any) -> Training:
        """A good completed training of its own, with its document."""
        self.number += 1
        folder = None if "certificate_uri" in changes else self.folder
        return make_training(self.number, folder=folder, **changes)

    def complete(self, *trainings: Training, ago: timedelta = timedelta(seconds=5)) -> None:
        """Let the institute complete trainings."""
        source_database.add(self.source, trainings, now=datetime.now(UTC) - ago)

    def catalogue(self, run_id: str = "night") -> None:
        async def read() -> tuple[list[Any], bool]:
            async with SpringestClient(self.site) as client:
                pages = client.certifications()
                return [item async for page in pages for item in page.items], pages.evidence.reached_end

        listed, complete = asyncio.run(read())
        with self.warehouse.begin() as connection:
            store_catalogue(connection, self.name, listed, complete=complete, run_id=run_id)

    def stage(self, run_id: str = "night", asked: Window | None = None, **first: Any) -> StageReport:
        return self.stager.stage(run_id, asked=asked, **first)

    def context(
        self,
        engine: AsyncEngine,
        client: SpringestClient,
        run_id: str,
        *,
        watermark: AttemptWatermark | None = None,
        **ledger: Any,
    ) -> DeliveryContext:
        """The collaborators of a delivery run, as the operator makes them."""
        site = self.site
        return DeliveryContext(
            site=site,
            run_id=run_id,
            ledger=DeliveryRepository(
                engine,
                site=site.name,
                run_id=run_id,
                worker=f"{run_id}-{secrets.token_hex(6)}",
                **ledger,
            ),
            limiter=RateLimiter(
                engine,
                host=site.host,
                key_fingerprint=site.key_fingerprint,
                requests_per_hour=site.requests_per_hour,
            ),
            client=client,
            stager=self.stager,
            documents=self.documents,
            watermark=watermark or AttemptWatermark(self.kept),
        )

    def deliver(
        self,
        run_id: str = "night",
        *,
        watermark: AttemptWatermark | None = None,
        meanwhile: Callable[[DeliveryRun], Awaitable[None]] | None = None,
        unknown_since: datetime | None = None,
        certification_ids: Sequence[int] | None = None,
        **settings: Any,
    ) -> DeliveryReport:
        """Deliver, as the operator does.

        :param meanwhile: what happens beside it, in the same process.
        """

        async def run() -> DeliveryReport:
            engine = create_async_engine(self.warehouse_url, pool_size=12)
            try:
                async with SpringestClient(self.site) as client:
                    context = self.context(
                        engine,
                        client,
                        run_id,
                        watermark=watermark,
                        unknown_since=unknown_since,
                        certification_ids=certification_ids,
                    )
                    values = DeliverySettings(**{"probe_delays": (0.01, 0.01), **settings})
                    delivery = DeliveryRun(context, settings=values)
                    beside = asyncio.ensure_future(meanwhile(delivery)) if meanwhile else None
                    report = await delivery.run()
                    if beside is not None:
                        await beside
                    return report
            finally:
                await engine.dispose()

        return asyncio.run(run())

    def snapshot(self, run_id: str = "night") -> SnapshotReport:
        async def run() -> SnapshotReport:
            engine = create_async_engine(self.warehouse_url)
            try:
                async with SpringestClient(self.site) as client:
                    return await take_snapshot(
                        engine, client, site=self.name, run_id=run_id, pseudonyms=self.pseudonyms
                    )
            finally:
                await engine.dispose()

        return asyncio.run(run())

    def planned(self, run_id: str = "night") -> SnapshotReport:
        """Take a snapshot of as much as is needed, as the operator does."""

        async def run() -> SnapshotReport:
            engine = create_async_engine(self.warehouse_url)
            try:
                async with SpringestClient(self.site) as client:
                    filters = Filters(engine, client, self.site)
                    scope = await plan(engine, filters)
                    return await take_snapshot(
                        engine,
                        client,
                        site=self.name,
                        run_id=run_id,
                        pseudonyms=self.pseudonyms,
                        scope=scope,
                        spent=filters.requests,
                    )
            finally:
                await engine.dispose()

        return asyncio.run(run())

    def owners(self, run_id: str = "night") -> OwnersReport:
        """Ask whose certificates they are."""

        async def run() -> OwnersReport:
            engine = create_async_engine(self.warehouse_url)
            pseudonyms = self.pseudonyms
            try:
                async with SpringestClient(self.site) as client:
                    look_up = addresses_from(self.reader, site=self.name, pseudonyms=pseudonyms)
                    return await OwnerLookup(engine, client, self.site, pseudonyms, look_up).run(run_id)
            finally:
                await engine.dispose()

        return asyncio.run(run())

    def publish(self, run_id: str = "night") -> PublishReport:
        return publish(self.warehouse, site=self.site, run_id=run_id)

    def night(self, run_id: str = "night") -> PublishReport:
        """All of it, in the order of the DAGs."""
        self.catalogue(run_id)
        self.stage(run_id)
        self.deliver(run_id)
        self.snapshot(run_id)
        self.owners(run_id)
        return self.publish(run_id)

    def rows(self, statement: str, **values: Any) -> Sequence[Any]:
        with self.warehouse.connect() as connection:
            return connection.execute(text(statement), values).all()

    def statuses(self) -> dict[str, tuple[str, str | None]]:
        """Verification status and reason by training."""
        found = self.rows(
            "SELECT training_id, verification_status, delivery_reason"
            " FROM springest.certificate_reconciliation"
        )
        return {row[0]: (row[1], row[2]) for row in found}

    def states(self) -> dict[str, tuple[str, str | None]]:
        """State and reason by training."""
        found = self.rows("SELECT training_id, state, reason FROM springest.delivery")
        return {row[0]: (row[1], row[2]) for row in found}

    @property
    def stored(self) -> list[tuple[str, str]]:
        """(address, sha256) of everything that the server took."""
        return sorted(
            (certificate.email, certificate.sha256) for certificate in self.sandbox.store.certificates()
        )

    @property
    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.sandbox.store.requests())


def sent(*trainings: Training) -> list[tuple[str, str]]:
    """Return the certificates that the server should have for these trainings."""
    return sorted(
        (
            training.learner.email or "",
            hashlib.sha256(Path(training.certificate_uri).read_bytes()).hexdigest(),
        )
        for training in trainings
    )


def wait_until(is_so: Callable[[], Any]) -> None:
    """Wait for another process or thread, half a minute at most."""
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def expected() -> Callable[..., list[tuple[str, str]]]:
    return sent


@pytest.fixture
def make_world(warehouse_url: str, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Make a world; the source is SQLite unless another engine is given."""
    opened: list[Any] = []

    def make(
        *, profile: str = "documented", source: Engine | None = None, has_begun: bool = True, **extra: Any
    ) -> World:
        sandbox = SandboxServer(profile=profile, certifications=CERTIFICATIONS)
        sandbox.__enter__()
        engine = source or create_engine(f"sqlite:///{tmp_path}/source.db")
        world = World(sandbox, engine, warehouse_url, tmp_path / "certificates", extra, has_begun=has_begun)
        opened.append(world)
        return world

    yield make
    for world in opened:
        world.sandbox.__exit__(None, None, None)
        world.source.dispose()
        world.warehouse.dispose()


@pytest.fixture
def roles(warehouse_url: str) -> Iterator[RoleNames]:
    """Roles of the warehouse's own: they belong to the whole server."""
    names = RoleNames.with_prefix(f"t{secrets.token_hex(6)}")
    warehouse = create_engine(warehouse_url, poolclass=NullPool)
    grant_roles(warehouse, names)
    yield names
    with warehouse.begin() as connection:
        for name, _ in names.grants():
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()
