"""Matching in generated worlds, against an oracle that knows which certificate came from which POST.

No proof and, where nobody else uploads, no inference may be false, in any world; and what is told of
candidates never leaves the true one out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from springest.identity import Pseudonyms
from springest.matching import matching
from springest.privacy.erasure import erase_learner
from tests.verdicts import publish, require_no_stale_verdict

from .matching_worlds import (
    NIGHT,
    Maker,
    Remote,
    Sent,
    SiteKind,
    World,
    ask_for_owners,
    begin,
    gather,
    merge,
    put,
    read_while_it_shifts,
    scan,
)

SEED = 20_261_102
NIGHTS = 4
FORGET_ON = 2
SCANS = (("whole",), ("part", "whole"), ("whole", "part"), ("shifting", "whole"), *(("shifting",),) * 2)
REPORTS = Path(__file__).parents[2] / ".springest" / "tests"
PSEUDONYMS = Pseudonyms("a secret of sixteen characters and more")


@pytest.fixture(autouse=True)
def _recent_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' times are long ago on the database's clock: no unknown outcome counts as too old."""
    monkeypatch.setattr(matching, "UNKNOWN_FOR_LONG_DAYS", 36_500)


def kinds(chance: random.Random) -> list[SiteKind]:
    """Sites of every sort, with clocks that differ by up to 13 hours, half of them with a jump."""
    return [
        SiteKind(
            f"site{number}",
            *traits,
            offset=timedelta(hours=chance.choice([-11, -5, 0, 0, 1, 2, 13])),
            jump=timedelta(hours=chance.choice([0, 0, -1, 1])),
            answers_by_address=not traits[1] and chance.random() < 0.5,
            lists_unverified=number % 3 == 1,
        )
        for number, traits in enumerate(product([True, False], repeat=4))
    ]


class Oracle:
    """Judges what is published of one site."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._by_id = {certificate.id: certificate for certificate in world.remote}
        self._status: dict[int, str] = {}
        self._linkable: set[int] = set()
        self._read_on: dict[int, int] = {}
        self.linked: Counter[str] = Counter()

    def read(self, seen: Sequence[Remote], night: int, *, names_owners: bool) -> None:
        """Record the certificates that the project was shown, and whether their owner was named."""
        self._status.update({certificate.id: certificate.status(night) for certificate in seen})
        self._read_on.update({certificate.id: night for certificate in seen})
        if names_owners:
            self._linkable.update(
                certificate.id for certificate in seen if certificate.learner not in self._world.erased
            )

    def judge(self, rows: Sequence[Any], night: int) -> None:
        """Raise on the first false claim; count the true links that were found."""
        sent = {delivery.key: delivery for delivery in self._world.sent}
        seen = set(self._status)
        self.linked.clear()
        for row in rows:
            delivery = sent[row.delivery_key]
            own = {
                certificate.id for certificate in self._world.remote if certificate.sent_for == delivery.key
            }
            self._claims_hold(row, delivery, own, own & seen, night)
            shown = {number for number in own if self._by_id[number].is_shown(night)}
            if shown and delivery.state in {"accepted", "accepted_no_id", "unknown", "review"}:
                self.linked["shown"] += 1
                is_claim = row.verification_status in {"verified", "expired", "inferred"}
                self.linked["found"] += is_claim and row.springest_certificate_id in own
                self.linked["in a set"] += is_claim and row.match_method == "set_complete"

    def _was_there(self, number: int, night: int) -> bool:
        """Tell whether a reading of that night can't have come before it."""
        certificate = self._by_id[number]
        stood = certificate.is_shown(night - 1) or self._read_on.get(number) == night
        return certificate.is_shown(night) and stood

    def _claims_hold(self, row: Any, delivery: Sent, own: set[int], seen: set[int], night: int) -> None:
        number, status = row.springest_certificate_id, row.verification_status
        if status in {"verified", "expired"}:
            assert row.match_method in {"springest_id", "owner"}, row
            assert _agree(self._by_id[number], delivery), f"another's certificate: {row}"
            assert self._status[number] == "verified", f"it has another status: {row}"
            # The learner has it, whoever uploaded it, as long as nothing says that they have another one. One
            # that complete snapshots of two nights lack is gone: Springest may have been asked to remove it.
            rest = {number for number in own & self._linkable if self._by_id[number].gone_from > night - 1}
            known = number in own or (row.match_method == "owner" and not rest)
            assert known, f"false proof: {row} {own}"
        elif status == "inferred":
            assert self._world.kind.exclusive, row
            assert (number in own) if number else (own and seen), f"false inference: {row} {own}"
        elif status == "missing" or row.delivery_reason == "absent":
            shown = {each for each in own if self._was_there(each, night) and number in {None, each}}
            assert not shown, f"it is there: {row} {shown}"
            is_verified = self._world.verified_from[delivery.certification_id] <= night
            stored = {each for each in own if self._by_id[each].gone_from > night and number in {None, each}}
            assert is_verified or not stored, f"its certification is not verified yet: {row} {stored}"
        elif status == "ambiguous" and row.candidates is not None and row.candidate_count <= 10:
            there = {certificate for certificate in seen if self._by_id[certificate].gone_from > night}
            if there and delivery.state != "cancelled":
                assert there & set(row.candidates) or row.match_method == "inferred", (
                    f"left out: {row} {there} {delivery} {[self._by_id[n] for n in (*own, *row.candidates)]}"
                )


def _agree(remote: Remote, delivery: Sent) -> bool:
    return (remote.learner, remote.certification_id, remote.valid_from, remote.valid_until) == (
        delivery.learner,
        delivery.certification_id,
        delivery.valid_from,
        delivery.valid_until,
    )


def published(warehouse: Engine, site: str) -> Sequence[Any]:
    with warehouse.connect() as connection:
        return connection.execute(
            text(
                "SELECT verdict.delivery_key, verdict.delivery_state, verdict.delivery_reason,"
                " verdict.verification_status, verdict.springest_certificate_id, verdict.match_method,"
                " verdict.match_evidence, matched.candidates, matched.candidate_count"
                " FROM springest.current_verdict AS verdict"
                " LEFT JOIN springest.delivery_match AS matched USING (delivery_id)"
                " WHERE verdict.site = :site ORDER BY verdict.delivery_key"
            ),
            {"site": site},
        ).all()


def forget_some(warehouse: Engine, world: World, chance: random.Random) -> None:
    """A few learners ask to be erased."""
    for learner in chance.sample(sorted({delivery.learner for delivery in world.sent}), 6):
        erase_learner(warehouse, PSEUDONYMS, learner_ref=learner)
        world.erased.add(learner)


def live(warehouse: Engine, world: World, chance: random.Random) -> Oracle:
    """Let the nights pass, with snapshots of every sort, publish, and judge each night."""
    oracle, site = Oracle(world), world.kind.site
    with warehouse.begin() as connection:
        put(connection, world)
    for night in range(NIGHTS):
        at = NIGHT + timedelta(days=night + 16, hours=5)
        there = [certificate for certificate in world.remote if certificate.is_shown(night)]
        if night == FORGET_ON:
            forget_some(warehouse, world, chance)
        for how in chance.choice(SCANS):
            part, complete = there, True
            if how == "part":
                part, complete = chance.sample(there, len(there) * 2 // 3), False
            elif how == "shifting":
                part, complete = read_while_it_shifts(world, night, chance)
            with warehouse.begin() as connection:
                scan(connection, world, part, night, at=at, complete=complete)
            oracle.read(part, night, names_owners=world.kind.tells_owner)
            at += timedelta(minutes=30)
        if world.kind.answers_by_address:
            with warehouse.begin() as connection:
                answered = ask_for_owners(connection, world, night, chance, at=at)
            oracle.read(answered, night, names_owners=True)
        publish(warehouse, site=site, run_id=f"night {night}")
        oracle.judge(published(warehouse, world.kind.name), night)
        require_no_stale_verdict(warehouse, site)
    with warehouse.begin() as connection:
        assert matching.match(connection, site).changed == 0
    assert publish(warehouse, site=site, run_id="again").written == 0
    return oracle


def run_worlds(warehouse: Engine, worlds_a_site: int, seed: int) -> None:
    """Let all sites live; the shares of true links found go into a file under ``.springest/tests``."""
    chance = random.Random(seed)  # noqa: S311
    shares: dict[tuple[bool, str, bool], Counter[str]] = {}
    statuses: Counter[str] = Counter()
    for kind in kinds(chance):
        world = Maker(chance, kind).make(worlds_a_site)
        oracle = live(warehouse, world, chance)
        of_kind = shares.setdefault((kind.tells_id, kind.owner_source, kind.exclusive), Counter())
        of_kind.update(oracle.linked)
        statuses.update(
            f"{row.verification_status} by {row.match_method}" for row in published(warehouse, kind.name)
        )
    lines = [
        f"{'id known' if tells_id else 'no id'}, {owner}, {'only we' if exclusive else 'others too'} upload:"
        f" {linked['found']} of {linked['shown']} true links found, {linked['in a set']} more as a set"
        for (tells_id, owner, exclusive), linked in sorted(shares.items(), reverse=True)
    ]
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"worlds-{seed}.txt").write_text("\n".join([*lines, str(statuses)]) + "\n", encoding="utf-8")
    # The worlds are not trivial: every way of matching is met.
    for met in ("verified by springest_id", "verified by owner", "inferred by inferred", "ambiguous by None"):
        assert statuses[met] > worlds_a_site / 20, met
    assert statuses["inferred by set_complete"] > 0


def test_no_claim_is_false_in_a_thousand_worlds(warehouse: Engine) -> None:
    """No verdict is false in a thousand generated worlds."""
    run_worlds(warehouse, 63, SEED)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(10))
def test_no_claim_is_false_in_ten_thousand_worlds(warehouse: Engine, seed: int) -> None:
    """No verdict is false in ten thousand generated worlds."""
    run_worlds(warehouse, 63, SEED + 1 + seed)


TABLES = (
    "seen_certificate",
    "delivery_match",
    "current_verdict",
    "delivery",
)
CHANGING = (
    "recorded_at",
    "matched_at",
    "updated_at",
    "created_at",
    "version",
    "run_id",
    "version_from",
)


def tables(warehouse: Engine) -> dict[str, list[dict[str, Any]]]:
    """Everything that matching leaves, but for when it was written."""
    with warehouse.connect() as connection:
        return {
            table: sorted(
                (
                    {
                        name: value
                        for name, value in row.items()
                        if name not in CHANGING or (table, name) == ("seen_certificate", "created_at")
                    }
                    for row in connection.execute(text(f"SELECT * FROM springest.{table}")).mappings()  # noqa: S608
                ),
                key=str,
            )
            for table in TABLES
        }


def verdicts(warehouse: Engine, site: str) -> list[Any]:
    """Return the verdict of each; a lost certificate has vanished if it was proven, else it is missing."""
    return [
        (row.delivery_key, "gone", None)
        if row.verification_status in {"missing", "vanished"}
        else (row.delivery_key, row.verification_status, row.candidate_count or row.springest_certificate_id)
        for row in published(warehouse, site)
    ]


@pytest.mark.parametrize("number", [0, 3, 5, 9, 13])
def test_snapshots_in_any_order_end_in_the_same_tables(warehouse: Engine, number: int) -> None:
    """An older snapshot never overwrites what a newer one saw, and a partial one withdraws nothing, also
    twice or broken off. When it is published in between, verdicts end the same as well; states may have been
    proven on the way.
    """
    chance = random.Random(SEED + number)  # noqa: S311
    kind = kinds(chance)[number]
    world = Maker(chance, kind).make(25)
    seen = []
    for night in range(6):
        there = [certificate for certificate in world.remote if certificate.is_shown(min(night, NIGHTS - 1))]
        complete = night in {3, 5} or chance.random() < 0.5
        seen.append((there if complete else chance.sample(there, len(there) // 2), complete))

    def run(order: list[int], *, publishing: bool) -> Any:
        with warehouse.begin() as connection:
            connection.exec_driver_sql(
                "TRUNCATE springest.snapshot, springest.remote_certificate, springest.delivery,"
                " springest.certification, springest.publication, springest.verdict RESTART IDENTITY CASCADE"
            )
            put(connection, world)
            at = [NIGHT + timedelta(days=16 + night) for night in range(len(seen))]
            begun = [begin(connection, world, moment) for moment in at]
            begin(connection, world, at[-1])  # one that is broken off
        for place in order:
            with warehouse.begin() as connection:
                gather(connection, world, seen[place][0], place)
                merge(connection, world, begun[place], at[place], complete=seen[place][1])
            if publishing:
                publish(warehouse, site=kind.site, run_id="between")
        publish(warehouse, site=kind.site, run_id="last")
        return tables(warehouse), verdicts(warehouse, kind.name)

    straight = list(range(len(seen)))
    wanted = run(straight, publishing=False)
    for _ in range(2):
        shuffled = chance.sample([*straight, *chance.sample(straight, 3)], len(straight) + 3)
        assert run(shuffled, publishing=False) == wanted
    assert run(straight, publishing=True)[1] == wanted[1]
