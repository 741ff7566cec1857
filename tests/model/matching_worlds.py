"""Generated worlds: what was sent, what Springest stored of it, what others uploaded, and what it shows when.

The generator knows the truth: which certificate came from which POST. The project sees the ledger and the
lists. Many worlds share a site, each with a certification of its own, so that they meet in one clock and
one run.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from springest.api.paging import Pager
from springest.site import Site
from springest.snapshot import snapshot as snapshots

NIGHT = datetime(2026, 11, 2, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class SiteKind:
    """What a site tells, and who uploads to it.

    :param lists_unverified: its list of certifications holds those that are not verified yet as well.
    :param answers_by_address: gives the certificates of one address when asked for them.
    :param offset: by how much its clock is ahead; ``jump`` is added to it from the middle of the night on.
    """

    name: str
    tells_id: bool
    tells_owner: bool
    exclusive: bool
    tells_zone: bool
    offset: timedelta
    jump: timedelta
    answers_by_address: bool = False
    lists_unverified: bool = False

    @property
    def site(self) -> Site:
        return Site(
            name=self.name,
            base_url="https://springest.example.com",
            api_key="k" * 20,
            certifications_api_key="",
            exclusive_uploader=self.exclusive,
            catalogue_lists_verified_only=not self.lists_unverified,
        )

    @property
    def owner_source(self) -> str:
        if self.tells_owner:
            return "owner in the list"
        return "owner by filter" if self.answers_by_address else "owner unknown"

    def clock(self, moment: datetime) -> datetime:
        return moment + self.offset + (self.jump if moment >= NIGHT + HOUR else timedelta(0))


@dataclass(slots=True)
class Remote:
    """A certificate at Springest.

    :param sent_for: delivery whose POST made it; ``None``: somebody else uploaded it.
    :param learner: whom Springest has as its owner.
    :param shown_from: first of the nights that shows it; ``gone_from``: first that does not any more.
    :param strange_on: nights on which its status is a word that nobody foresaw.
    """

    id: int
    certification_id: int
    learner: str
    valid_from: date
    valid_until: date | None
    created: datetime
    sent_for: str | None
    strange_on: frozenset[int] = frozenset()
    shown_from: int = 0
    gone_from: int = 99

    def is_shown(self, night: int) -> bool:
        return self.shown_from <= night < self.gone_from

    def status(self, night: int) -> str:
        return "on hold" if night in self.strange_on else "verified"


@dataclass(slots=True)
class Sent:
    """A delivery in the ledger, with what became of its POSTs."""

    key: str
    certification_id: int
    learner: str
    valid_from: date
    valid_until: date | None
    state: str
    reason: str | None = None
    sent_at: datetime | None = None
    updated_at: datetime = NIGHT
    certificate_id: int | None = None
    attempts: list[tuple[datetime, str | None, int | None]] = field(default_factory=list)


@dataclass(slots=True)
class World:
    """Everything of one site."""

    kind: SiteKind
    sent: list[Sent] = field(default_factory=list)
    remote: list[Remote] = field(default_factory=list)
    listed: set[int] = field(default_factory=set)
    verified_from: dict[int, int] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)


class Maker:
    """Makes worlds out of chance.

    :param chance: seeded.
    """

    def __init__(self, chance: random.Random, kind: SiteKind) -> None:
        self._chance = chance
        self._kind = kind
        self._world = World(kind)
        self._next_id = chance.randrange(1_000, 9_000)

    def make(self, worlds: int) -> World:
        for number in range(1, worlds + 1):
            self._class(number)
        return self._world

    def _maybe(self, share: float) -> bool:
        return self._chance.random() < share

    def _class(self, number: int) -> None:
        """A class that was certified together: mostly the same dates for all."""
        chance = self._chance
        verified_from = chance.choice([0, 0, 0, 1, 2, 99])
        self._world.verified_from[number] = verified_from
        if verified_from == 0 or self._kind.lists_unverified:
            self._world.listed.add(number)
        gap = chance.choice([timedelta(seconds=1), timedelta(minutes=9), 2 * HOUR, timedelta(days=2)])
        begin = NIGHT + timedelta(seconds=chance.randrange(7_200))
        first_days = [date(2026, 11, 2), date(2026, 11, 2), date(2026, 10, 30)]
        until = chance.choice([None, None, date(2030, 1, 1)])
        people = [f"{number:05}{person:02}".rjust(64, "0") for person in range(chance.randrange(1, 8))]
        before = len(self._world.remote)
        for place in range(len(people)):
            learner = chance.choice(people) if self._maybe(0.15) else people[place]
            day = chance.choice(first_days) if self._maybe(0.2) else first_days[0]
            key = f"{self._kind.name}:{number}:{place}"
            self._life(Sent(key, number, learner, day, until, "ready"), begin + place * gap)
        if not self._kind.exclusive:
            self._others(number, people, first_days[0], until)
        if self._maybe(0.1):
            self._upload(
                number, chance.choice(people), first_days[0], until, NIGHT - timedelta(days=90), None
            )
        for remote in self._world.remote[before:]:
            remote.shown_from = max(verified_from, 0 if self._maybe(0.85) else chance.choice([1, 2]))
            if self._maybe(0.03):
                remote.gone_from = chance.choice([1, 2])
            if self._maybe(0.06):
                remote.strange_on = frozenset(
                    chance.choice([(0, 1, 2, 3), (1,), (0, 1), (2, 3)])  # for ever, or for a while
                )

    def _life(self, sent: Sent, at: datetime) -> None:
        fate = self._chance.choices(
            [
                "answered",
                "lost",
                "lost and stored",
                "stored late",
                "again",
                "refused",
                "waiting",
                "under way",
            ],
            [50, 8, 10, 5, 6, 3, 3, 3],
        )[0]
        self._world.sent.append(sent)
        if fate == "answered":
            self._answered(sent, at)
        elif fate in {"lost", "lost and stored", "stored late"}:
            self._lost(sent, at, stored=fate != "lost", late=fate == "stored late")
            sent.state, sent.reason = self._chance.choice(
                [("unknown", "response_lost"), ("review", "unknown_for_long")]
            )
        elif fate == "again":
            self._again(sent, at)
        elif fate == "refused":
            sent.state, sent.sent_at = "rejected", at
            sent.attempts.append((at, "refused", None))
        elif fate == "under way":
            sent.state, sent.updated_at = "sending", at
            sent.attempts.append((at, None, None))
            if self._maybe(0.5):
                self._store(sent, at)

    def _answered(self, sent: Sent, at: datetime) -> None:
        number = self._store(sent, at)
        has_id = self._kind.tells_id
        if has_id and self._kind.tells_owner and self._maybe(0.04):
            # Springest has it under another of its learners.
            self._world.remote[-1].learner = self._chance.choice(self._world.sent[-5:]).learner
        sent.state = "accepted" if has_id else "accepted_no_id"
        sent.sent_at, sent.certificate_id = at, number if has_id else None
        sent.attempts.append(
            (at, "accepted_with_id" if has_id else "accepted_without_id", sent.certificate_id)
        )

    def _lost(self, sent: Sent, at: datetime, *, stored: bool, late: bool = False) -> None:
        if stored:
            self._store(sent, at + (timedelta(minutes=self._chance.randrange(56)) if late else timedelta(0)))
        sent.sent_at = at
        sent.attempts.append((at, "outcome_unknown", None))

    def _again(self, sent: Sent, at: datetime) -> None:
        """A person released it although the first POST had been taken, or had not."""
        self._lost(sent, at - self._chance.choice([HOUR, 20 * HOUR]), stored=self._maybe(0.5))
        outcome = self._chance.choice(["answered", "lost", "waiting", "cancelled"])
        if outcome == "answered":
            self._answered(sent, at)
        elif outcome == "lost":
            self._lost(sent, at, stored=self._maybe(0.5))
            sent.state = "unknown"
        else:
            sent.state = "ready" if outcome == "waiting" else "cancelled"

    def _store(self, sent: Sent, at: datetime) -> int:
        delay = timedelta(seconds=self._chance.random() * 5)
        return self._upload(
            sent.certification_id, sent.learner, sent.valid_from, sent.valid_until, at + delay, sent.key
        )

    def _others(self, number: int, people: Sequence[str], day: date, until: date | None) -> None:
        """Somebody uploads by hand: for a learner of ours, before or after, or for somebody else."""
        for _ in range(self._chance.choice([0, 0, 1, 1, 2])):
            learner = self._chance.choice(people) if self._maybe(0.6) else "e" * 64
            at = NIGHT + timedelta(hours=self._chance.uniform(-80, 40))
            self._upload(number, learner, day, until, at, None)

    def _upload(
        self, number: int, learner: str, day: date, until: date | None, at: datetime, sent_for: str | None
    ) -> int:
        self._next_id += self._chance.randrange(1, 4)
        created = self._kind.clock(at).replace(microsecond=0)
        self._world.remote.append(Remote(self._next_id, number, learner, day, until, created, sent_for))
        return self._next_id


def put(connection: Connection, world: World) -> None:
    """Put a site's ledger and catalogue into the warehouse."""
    name = world.kind.name
    _copy(
        connection,
        "springest.delivery (delivery_key, site, training_id, issue_no, state, reason, learner_ref,"
        " certification_id, valid_from, valid_until, row_version, staged_run_id, sent_at, updated_at,"
        " springest_certificate_id, lease_owner)",
        (
            (delivery.key, name, delivery.key, 1, delivery.state, delivery.reason, delivery.learner,
             delivery.certification_id, delivery.valid_from, delivery.valid_until, "v", "night",
             delivery.sent_at, delivery.updated_at, delivery.certificate_id,
             "worker" if delivery.state == "sending" else None)
            for delivery in world.sent
        ),
    )  # fmt: skip
    numbers = dict(connection.execute(text("SELECT delivery_key, delivery_id FROM springest.delivery")).all())
    _copy(
        connection,
        "springest.delivery_attempt (delivery_id, run_id, worker, started_at, outcome, document_sha256,"
        " certification_id, valid_from, valid_until, springest_certificate_id)",
        (
            (numbers[delivery.key], "night", "worker", at, outcome, "0" * 64, delivery.certification_id,
             delivery.valid_from, delivery.valid_until, certificate_id)
            for delivery in world.sent
            for at, outcome, certificate_id in delivery.attempts
        ),
    )  # fmt: skip
    _copy(
        connection,
        "springest.certification (site, certification_id, is_listed, first_seen_at, last_seen_at,"
        " listed_since)",
        (
            (
                name,
                number,
                True,
                NIGHT - timedelta(days=9),
                NIGHT + timedelta(days=30),
                NIGHT - timedelta(days=9),
            )
            for number in sorted(world.listed)
        ),
    )


def scan(
    connection: Connection, world: World, seen: Sequence[Remote], night: int, *, at: datetime, complete: bool
) -> int:
    """Store a snapshot that saw these certificates, as taking one does; returns its number."""
    begun = begin(connection, world, at)
    gather(connection, world, seen, night)
    merge(connection, world, begun, at, complete=complete)
    return begun


def read_while_it_shifts(world: World, night: int, chance: random.Random) -> tuple[list[Remote], bool]:
    """Read the list by pages while it becomes what it is that night, row by row; returns what was read.

    Whether that was all of it is said by what the project's own reader makes of ids and totals.
    """
    rows = {certificate.id: certificate for certificate in world.remote if certificate.is_shown(night - 1)}
    wanted = {certificate.id: certificate for certificate in world.remote if certificate.is_shown(night)}
    differing = sorted(rows.keys() ^ wanted.keys())
    changing = chance.sample(differing, len(differing))
    pager, read = Pager(chance.choice([7, 20, 100])), {}
    while (asked := pager.next) is not None:
        listed = sorted(rows)
        page = listed[asked.offset : asked.offset + asked.size]
        pager.accept(page, total=len(listed))
        read.update({number: rows[number] for number in page})
        for number in changing[: chance.choice([0, 0, 1, 2, 9])]:
            changing.remove(number)
            if number in rows:
                del rows[number]
            else:
                rows[number] = wanted[number]
    return list(read.values()), pager.evidence.complete


def ask_for_owners(
    connection: Connection, world: World, night: int, chance: random.Random, *, at: datetime
) -> list[Remote]:
    """Ask for the certificates of some learners by their addresses; returns what came."""
    known = sorted({delivery.learner for delivery in world.sent} - world.erased)
    asked = set(chance.sample(known, min(len(known), 25)))
    found = [
        certificate
        for certificate in world.remote
        if certificate.learner in asked and certificate.is_shown(night)
    ]
    begun = begin(connection, world, at)
    gather(connection, world, found, night, owner_source="filter")
    merge(connection, world, begun, at, complete=False, scope="owners")
    return found


def begin(connection: Connection, world: World, at: datetime) -> int:
    """Begin a snapshot; returns its number."""
    begun = connection.execute(
        text(
            "INSERT INTO springest.snapshot (site, run_id, started_at) VALUES (:site, 'night', :at)"
            " RETURNING snapshot_id"
        ),
        {"site": world.kind.name, "at": at},
    )
    return int(begun.scalar_one())


def gather(
    connection: Connection,
    world: World,
    seen: Iterable[Remote],
    night: int,
    *,
    owner_source: str | None = None,
) -> None:
    """Put what a snapshot sees beside the table.

    :param owner_source: where owners come from; by default the list, if the site names them there.
    """
    kind = world.kind
    owner_source = owner_source or ("list" if kind.tells_owner else None)
    connection.exec_driver_sql(snapshots._GATHERED)
    _copy(
        connection,
        "pg_temp.gathered (springest_certificate_id, certification_id, valid_from, valid_until,"
        " springest_status, created_at, learner_ref, owner_told_by)",
        (
            (certificate.id, certificate.certification_id, certificate.valid_from, certificate.valid_until,
             certificate.status(night), certificate.created if kind.tells_zone else None,
             certificate.learner if owner_source else None, owner_source)
            for certificate in seen
        ),
    )  # fmt: skip


def merge(
    connection: Connection, world: World, number: int, at: datetime, *, complete: bool, scope: str = "full"
) -> None:
    """Finish a snapshot with what was gathered, without those who were erased."""
    site = world.kind.name
    if world.erased:
        connection.execute(snapshots._ERASE_GATHERED, {"refs": sorted(world.erased)})
    connection.execute(snapshots._ERASE_OWNERS, {"site": site})
    totals = dict.fromkeys(("first_total", "last_total", "distinct_ids", "rewinds", "requests"), 0)
    connection.execute(
        snapshots._MERGE,
        {"site": site, "snapshot_id": number, "started_at": at, "complete": complete, "scope": scope,
         "scope_detail": None, **totals},
    )  # fmt: skip
    connection.execute(
        text(
            "UPDATE springest.snapshot SET finished_at = started_at + interval '5 min'"
            " WHERE snapshot_id = :id"
        ),
        {"id": number},
    )


def _copy(connection: Connection, target: str, rows: Iterable[tuple[Any, ...]]) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
