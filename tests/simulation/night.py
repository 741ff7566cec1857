"""One simulated night: what is drawn from a seed, what is played through, and what must be true of it.

The ledger, its SQL, the rate limit, the breaker, the slow start and the delivering loop are the real ones
over a real PostgreSQL. Time, chance and the wire are simulated, so hours take a second and a seed gives the
same night again.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import Engine, StaticPool, create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from demo import source_database
from demo.nights import Training
from demo.people import Learner
from sandbox.cap import peak
from springest.api.client import SpringestClient
from springest.api.models import Certification
from springest.catalogue import store_catalogue
from springest.db.schema import metadata
from springest.delivery.attempt_watermark import AttemptWatermark
from springest.delivery.context import DeliveryContext
from springest.delivery.repository import DeliveryRepository
from springest.delivery.run import DeliveryRun, DeliverySettings
from springest.delivery.stats import DeliveryReport
from springest.documents.opener import DocumentStore
from springest.errors import DeliveryStopped, TooManyUnknown
from springest.rate_limit.limiter import Pace, RateLimiter, ReadGate
from springest.site import Site
from springest.source.reader import SourceReader
from springest.staging.stage import Stager
from springest.staging.window import begin_site
from tests.factories import PDF, PSEUDONYMS, MemoryKeeper, make_training
from tests.simulation.clock import SEARCH_PATH, VirtualClock, VirtualLoop
from tests.simulation.server import DOUBTFUL, Client, Fate, Outage, Server

QUERY: Final = (Path(__file__).parents[2] / "include" / "sql" / "completed_trainings.sql").read_text(
    encoding="utf-8"
)
TABLES: Final = ", ".join(table.fullname for table in metadata.sorted_tables)
CERTIFICATIONS: Final = (101, 102, 103)
CONNECTIONS: Final = 24
MAX_UNKNOWN: Final = 10
ONE_AM: Final = 3600.0
RETRIES: Final = 2
RETRY_SECONDS: Final = 300.0
NEXT_NIGHT: Final = 24 * 3600.0
LONGER_THAN_A_LEASE: Final = 400.0


class ProcessDied(Exception):
    """The process is gone: nothing it does from now on reaches anybody."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that delivers.

    :param starts: seconds after the night began.
    :param dies: seconds after its start; ``None`` is not at all.
    """

    run_id: str
    starts: float
    concurrency: int
    seconds: float
    dies: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is drawn from a seed.

    :param server_cap: what the server really takes, should it differ from ``cap``.
    :param pauses: share of what a process says to others before which it stands still for some seconds.
    :param readers: GETs beside the night, by other tasks that share the key.
    """

    seed: int
    cap: int
    server_cap: int
    rows: int
    certifications: int
    latency: float
    trouble: float
    pauses: float
    outages: tuple[Outage, ...]
    workers: tuple[Worker, ...]
    readers: int

    @classmethod
    def draw(cls, seed: int) -> Scenario:
        chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        cap = chance.choice((20, 40, 60, 100, 200, 200, 400, 400, 412))
        pace = Pace.under(cap)
        rows = min(chance.randint(5, 60), 2 * cap) if chance.random() < 0.9 else int(1.4 * cap)
        length = rows * pace.interval
        runs = chance.choices((("night",), ("night", "backfill"), ("night", "night")), (5, 3, 2))[0]
        workers = tuple(
            Worker(
                run_id=run,
                starts=chance.uniform(0, 0.5) * length if number else 0.0,
                concurrency=chance.choice((1, 2, 4) if len(runs) > 1 or cap < 100 else (2, 4, 10)),
                seconds=chance.choice((0.5, 1.5, 3.0)) * length,
                dies=chance.uniform(0, length) if chance.random() < 0.3 else None,
            )
            for number, run in enumerate(runs)
        )
        outages = []
        for _ in range(chance.choice((0, 0, 1, 1, 2))):
            begin = ONE_AM + chance.uniform(-60, length)
            fate = chance.choice((*DOUBTFUL, Fate.REFUSED_CONNECTION, Fate.BROKEN_BODY))
            outages.append(Outage(begin, begin + chance.choice((30.0, 600.0, 3 * 3600.0)), fate))
        return cls(
            seed=seed,
            cap=cap,
            server_cap=cap if chance.random() < 0.9 else max(5, cap // 3),
            rows=rows,
            certifications=len(CERTIFICATIONS),
            latency=chance.choice((0.1, 1.0, 10.0)),
            trouble=chance.choice((0.0, 0.02, 0.1, 0.4)),
            pauses=0.01,
            outages=tuple(outages),
            workers=workers,
            readers=chance.choice((0, 0, 3)),
        )


@dataclass
class Night:
    """The result of a night."""

    scenario: Scenario
    server: Server
    began: float = ONE_AM
    ended: float = 0.0
    reports: list[tuple[Worker, DeliveryReport]] = field(default_factory=list)
    errors: list[tuple[Worker, Exception]] = field(default_factory=list)
    unknown: int = 0
    states: Counter[str] = field(default_factory=Counter)

    @property
    def peak(self) -> int:
        return peak(self.server.arrivals)


class Process:
    """A worker's process: everything it says to others passes here, takes a while, and ends with it."""

    def __init__(self, chance: random.Random, pauses: float) -> None:
        self._chance, self._pauses = chance, pauses
        self.is_dead = False

    def through(self, part: Any) -> Any:
        """Let a part's coroutines pass here."""
        return Through(part, self)

    async def cross(self, work: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        await self._pause()
        result = await work(*args, **kwargs)
        await self._pause()
        return result

    async def _pause(self) -> None:
        """Now and then a process stands still for as long as a grant is valid, or longer."""
        longest = 12.0 if self._chance.random() < self._pauses else 0.02
        if self.is_dead:
            raise ProcessDied
        await asyncio.sleep(self._chance.uniform(0, longest))
        if self.is_dead:
            raise ProcessDied


class Through:
    """Stands where a part does, and lets its coroutines pass a process."""

    def __init__(self, part: Any, process: Process) -> None:
        self._part, self._process = part, process

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not asyncio.iscoroutinefunction(found):
            return found
        return lambda *args, **kwargs: self._process.cross(found, *args, **kwargs)


class World:
    """Everything that nights share: a database, a source, a folder, a loop and its clock.

    :param clock: already known to the database.
    """

    def __init__(self, url: str, clock: VirtualClock, folder: Path) -> None:
        self.clock = clock
        self.warehouse: Engine = create_engine(url, connect_args={"options": SEARCH_PATH})
        self.source = create_engine("sqlite://", poolclass=StaticPool)
        source_database.create_schema(self.source)
        self.document = folder / "certificate.pdf"
        self.document.write_bytes(PDF)
        self.documents = DocumentStore.under([str(folder)])
        self.runner = asyncio.Runner(loop_factory=lambda: VirtualLoop(clock))
        self.engine: AsyncEngine = create_async_engine(
            url, pool_size=CONNECTIONS, connect_args={"options": SEARCH_PATH}
        )

    def close(self) -> None:
        self.runner.run(self.engine.dispose())
        self.runner.close()
        self.warehouse.dispose()
        self.source.dispose()

    def begin(self, rows: int, certifications: int) -> None:
        """Forget all nights, and let the institute complete trainings."""
        self.clock.set(0.0)
        with self.warehouse.begin() as connection:
            connection.execute(text(f"TRUNCATE {TABLES} RESTART IDENTITY"))
            listed = [
                Certification(certification, str(certification), None, requires_valid_until=False)
                for certification in CERTIFICATIONS
            ]
            store_catalogue(connection, "default", listed, complete=True, run_id="night")
        with self.source.begin() as connection:
            connection.execute(source_database.completed_training.delete())
            connection.execute(source_database.learner.delete())
        completed = [
            self._training(number, CERTIFICATIONS[number % certifications]) for number in range(rows)
        ]
        source_database.add(self.source, completed, now=self.clock.moment)
        self.clock.set(ONE_AM)
        with self.warehouse.begin() as connection:
            begin_site(connection, site="default", begin_from=self.clock.moment - timedelta(days=1))

    def _training(self, number: int, certification: int) -> Training:
        return make_training(
            number,
            learner=Learner(number, "Ana", f"ana.{number}@example.com"),
            certification_id=certification,
            completed_at=datetime(2026, 11, 1, tzinfo=UTC),
            valid_from=date(2026, 11, 1),
            certificate_uri=str(self.document),
        )

    def site(self, cap: int) -> Site:
        return Site(
            name="default",
            base_url="https://api.example.com",
            api_key="key",
            certifications_api_key="key",
            requests_per_hour=cap,
        )

    def stager(self, site: Site) -> Stager:
        return Stager(
            self.warehouse,
            source=SourceReader(self.source, query=QUERY),
            site=site,
            pseudonyms=PSEUDONYMS,
            documents=self.documents,
        )

    def limiter(self, site: Site, *, reads: bool = False) -> RateLimiter:
        make = RateLimiter.for_reads if reads else RateLimiter
        return make(
            self.engine,
            host=site.host,
            key_fingerprint=site.key_fingerprint,
            requests_per_hour=site.requests_per_hour,
        )

    def client(self, server: Server, site: Site, limiter: RateLimiter) -> Client:
        return Client(server, ReadGate(limiter, self.limiter(site, reads=True)))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.warehouse.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]


def play(world: World, scenario: Scenario) -> Night:
    """Play a night through, and the next one, on which all is well."""
    world.begin(scenario.rows, scenario.certifications)
    chance = random.Random(scenario.seed + 1)  # noqa: S311 - repeatable, not secret
    server = Server(
        chance=chance,
        cap=scenario.server_cap,
        latency=scenario.latency,
        trouble=scenario.trouble,
        outages=scenario.outages,
    )
    night = Night(scenario, server)
    world.runner.run(_play(world, night, chance))
    return night


async def _play(world: World, night: Night, chance: random.Random) -> None:
    asyncio.get_running_loop().set_exception_handler(_ignore_what_died)
    scenario, keeper = night.scenario, MemoryKeeper()
    site = world.site(scenario.cap)
    for run_id in sorted({worker.run_id for worker in scenario.workers}):
        await asyncio.to_thread(world.stager(site).stage, run_id)
    readers = [asyncio.create_task(_read(world, night, site, chance)) for _ in range(scenario.readers)]
    await asyncio.gather(
        *(_work_with_retries(world, night, site, worker, keeper, chance) for worker in scenario.workers)
    )
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    night.ended = world.clock.seconds
    night.server.outages, night.server.trouble = (), 0.0
    night.server.cap = scenario.cap
    await asyncio.sleep(max(LONGER_THAN_A_LEASE, ONE_AM + NEXT_NIGHT - world.clock.seconds))
    last = Worker("next night", 0.0, 10, 12 * 3600.0)
    await _work(world, night, site, last, keeper, chance)
    await asyncio.gather(*night.server.late)


async def _work_with_retries(
    world: World, night: Night, site: Site, worker: Worker, keeper: MemoryKeeper, chance: random.Random
) -> None:
    """Run a task: it begins, may die, and is retried some minutes later."""
    await asyncio.sleep(worker.starts)
    for _ in range(1 + RETRIES):
        error = await _work(world, night, site, worker, keeper, chance)
        if error is None or isinstance(error, TooManyUnknown):
            return
        await asyncio.sleep(RETRY_SECONDS)
        worker = Worker(worker.run_id, worker.starts, worker.concurrency, worker.seconds)


async def _work(
    world: World, night: Night, site: Site, worker: Worker, keeper: MemoryKeeper, chance: random.Random
) -> Exception | None:
    process = Process(chance, night.scenario.pauses)
    limiter = world.limiter(site)
    context = DeliveryContext(
        site=site,
        run_id=worker.run_id,
        ledger=process.through(
            DeliveryRepository(
                world.engine,
                site=site.name,
                run_id=worker.run_id,
                worker=f"{worker.run_id}-{chance.getrandbits(32)}",
            )
        ),
        limiter=process.through(limiter),
        client=cast("SpringestClient", world.client(night.server, site, limiter)),
        stager=world.stager(site),
        documents=world.documents,
        watermark=AttemptWatermark(keeper),
    )
    settings = DeliverySettings(
        concurrency=worker.concurrency,
        batch=10,
        max_unknown=MAX_UNKNOWN,
        expected=night.scenario.rows,
        seconds_to_deliver_until=worker.seconds,
    )
    delivering = asyncio.create_task(DeliveryRun(context, settings=settings).run())
    if worker.dies is not None:
        asyncio.get_running_loop().call_later(worker.dies, _die, process, delivering)
    try:
        night.reports.append((worker, await delivering))
    except DeliveryStopped as error:
        night.errors.append((worker, error))
        return error
    except (ProcessDied, asyncio.CancelledError) as error:
        if not process.is_dead:
            raise
        night.errors.append((worker, ProcessDied(str(error))))
        return night.errors[-1][1]
    return None


def _die(process: Process, delivering: asyncio.Task[DeliveryReport]) -> None:
    """From now on nothing it does reaches anybody; what it still tries is given up a little later."""
    process.is_dead = True
    asyncio.get_running_loop().call_later(0.001, delivering.cancel)


def _ignore_what_died(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), ProcessDied):
        loop.default_exception_handler(context)


async def _read(world: World, night: Night, site: Site, chance: random.Random) -> None:
    """Another task that reads with the same key, as fast as reads may."""
    client = world.client(night.server, site, world.limiter(site))
    while True:
        try:
            async for _ in client.certificates():
                pass
        except Exception:  # noqa: BLE001, S110 - outages and throttling; it goes on all the same
            pass
        await asyncio.sleep(chance.uniform(0, 120))


def check(world: World, night: Night) -> None:
    """Assert everything that must be true of a night."""
    scenario, server = night.scenario, night.server
    label = f"night with seed {scenario.seed}"
    assert max(server.whole.values(), default=0) <= 1, f"{label}: a certificate was posted twice"
    if scenario.server_cap == scenario.cap:
        assert server.over_cap == 0, f"{label}: more requests than an hour may have"
    assert night.peak <= scenario.cap, f"{label}: more requests than an hour may have"
    if all(worker.dies is None for worker in scenario.workers):
        assert server.unheeded == 0, f"{label}: a Retry-After was not heeded"
    _check_states(world, night, label)
    [(night.unknown,)] = world.rows(
        "SELECT count(*) FROM springest.delivery_attempt WHERE outcome = 'outcome_unknown'"
    )
    assert night.unknown <= MAX_UNKNOWN, f"{label}: {night.unknown} outcomes are unknown"
    _check_reports(night, label)


def _check_states(world: World, night: Night, label: str) -> None:
    """Nothing is lost, nothing is called what it isn't, and each state follows from its attempts."""
    server = night.server
    rows = world.rows(
        "SELECT 'ana.' || CAST(right(training_id, 4) AS integer) || '@example.com', state,"
        " springest_certificate_id, (SELECT outcome FROM springest.delivery_attempt AS attempt"
        "  WHERE attempt.delivery_id = delivery.delivery_id ORDER BY attempt_id DESC LIMIT 1)"
        " FROM springest.delivery AS delivery"
    )
    assert len(rows) == night.scenario.rows, f"{label}: rows were lost"
    stored = Counter(server.stored.values())
    assert max(stored.values(), default=0) <= 1, f"{label}: a certificate was stored twice"
    follows = {
        "ready": {None, "not_stored"},
        "accepted": {"accepted_with_id"},
        "unknown": {"outcome_unknown"},
        "rejected": {"refused"},
    }
    for email, state, number, outcome in rows:
        assert outcome in follows[state], f"{label}: {email} is {state} after {outcome}"
        if state == "accepted":
            assert server.stored[number] == email, f"{label}: {email} is not what certificate {number} is"
        if state == "ready":
            assert not server.whole[email], f"{label}: {email} may be there, and may be sent again"
        if stored[email]:
            assert state in {"accepted", "unknown"}, f"{label}: {email} is there, and called {state}"
    night.states = Counter(state for _, state, _, _ in rows)


def _check_reports(night: Night, label: str) -> None:
    """What the last run left in the queue is in its report; and it left nothing without a reason."""
    last, report = night.reports[-1] if night.reports else (None, None)
    left = night.states["ready"]
    if last is not None and report is not None and last.run_id == "next night":
        assert report.left == left, f"{label}: {left} are left, {report.left} were reported"
        return
    workers = [worker for worker, _ in night.errors if worker.run_id == "next night"]
    assert workers, f"{label}: nothing was reported"


def used(night: Night) -> float:
    """Return which share of its allowance a night used while its queue was long.

    The allowance of a time that begins after a pause is the burst, and one request for each interval. The
    queue is called long until as many are left as all workers have under way.
    """
    scenario, posts = night.scenario, night.server.posts
    pace = Pace.under(scenario.cap)
    last = scenario.rows - sum(worker.concurrency for worker in scenario.workers)
    return last / (pace.burst + (posts[last - 1] - night.began) / pace.interval)
