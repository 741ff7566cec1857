"""What is copied of a site, and how a copy's differences are found, over a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from springest.copies.published import CURRENT, HISTORY, Checksum, Published, published
from springest.db.engines import warehouse_engine
from springest.db.roles import RoleNames, grant_roles
from springest.errors import WarehouseLocked
from tests.component.copies.conftest import Run, show_all
from tests.component.published import publish_all
from tests.factories import MOMENT, add_delivery


def read(engine: Engine, site: str = "default") -> tuple[Checksum, dict[str, int]]:
    """The checksum, and each row's hash by its key, as a first copy gets them."""
    with published(engine, site) as source:
        source.compare_hashes([])
        return source.checksum, {row["row_id"]: row["row_hash"] for row in source.differences()}


def compare(engine: Engine, copied: dict[str, int]) -> tuple[int, int]:
    with published(engine, "default") as source:
        return source.compare_hashes(copied.items())


def test_a_first_copy_has_every_version(
    certificates: Engine, change: Callable[[str], None], run: Run
) -> None:
    """Every value of both views is in one row: the two times that most share are kept once."""
    change("T3")
    history = run(f"SELECT * FROM springest.{HISTORY}")  # noqa: S608
    current = {row.delivery_key: row for row in run(f"SELECT * FROM springest.{CURRENT}")}  # noqa: S608
    with published(certificates, "default") as source:
        assert source.compare_hashes([]) == (len(history), 0)
        rows = list(source.differences())
        fresh = source.freshness
    assert len(history) == len(current) + 1 == 5
    assert {row.reconciled_at for row in current.values()} == {fresh.reconciled_at}
    for version in history:
        [row] = [
            row
            for row in rows
            if (row["delivery_key"], row["valid_from_ts"]) == (version.delivery_key, version.valid_from_ts)
        ]
        assert {name: row[name] for name in version._fields} == version._asdict()
        if version.is_current:
            seen = fresh.shared_seen_at if row["shares_last_seen"] else row["last_seen_at"]
            copied = {**row, "last_seen_at": seen, "reconciled_at": fresh.reconciled_at}
            whole = current[version.delivery_key]._asdict()
            assert {name: copied[name] for name in whole} == whole


def test_a_quiet_night_changes_no_row(certificates: Engine) -> None:
    """Every shown certificate was seen again and published again, and no row of the copy is written."""
    _, before = read(certificates)
    show_all(certificates, MOMENT + timedelta(days=2))
    publish_all(certificates)
    assert compare(certificates, before) == (0, 0)


def test_a_certificate_that_is_seen_no_more_is_a_change(certificates: Engine, run: Run) -> None:
    """Its last_seen_at stays behind that of the others."""
    _, before = read(certificates)
    run("UPDATE springest.remote_certificate SET lacked_at = now() WHERE springest_certificate_id = 2")
    assert compare(certificates, before) == (1, 0)
    with published(certificates, "default") as source:
        source.compare_hashes(before.items())
        [row] = source.differences()
    # As many were seen at each of the two times, and the earlier one counts as shared.
    assert (row["training_id"], row["last_seen_at"]) == (
        "T1",
        MOMENT + timedelta(days=1, microseconds=123_457),
    )


def test_what_expires_by_time_alone_is_a_change(certificates: Engine, run: Run) -> None:
    """No verdict is written at midnight; the views report it, and so does the copy."""
    run("UPDATE springest.verdict SET valid_until = current_date - 1 WHERE training_id = 'T2'")
    _, before = read(certificates)
    run("UPDATE springest.verdict SET verification_status = 'expired' WHERE training_id = 'T2'")
    assert compare(certificates, before) == (0, 0), "the views said so before"
    run("UPDATE springest.verdict SET valid_until = current_date + 1 WHERE training_id = 'T2'")
    assert compare(certificates, before) == (1, 0)


@pytest.mark.parametrize(
    "emptied", ["learner_ref", "delivery_reason_detail", "match_evidence", "certification_name"]
)
def test_what_an_erasure_or_a_night_rewrites_is_a_change(
    certificates: Engine, run: Run, emptied: str
) -> None:
    """Also where no new version begins."""
    run(f"UPDATE springest.verdict SET {emptied} = 'x' WHERE training_id = 'T1'")  # noqa: S608
    _, before = read(certificates)
    run(f"UPDATE springest.verdict SET {emptied} = NULL WHERE training_id = 'T1'")  # noqa: S608
    assert compare(certificates, before) == (1, 0)


def test_differences_of_every_kind_are_found(certificates: Engine) -> None:
    """A row that is missing, one that differs, one that is there twice, and one too many."""
    _, right = read(certificates)
    missing, wrong, twice, good = right
    copied = [(wrong, 1), (twice, right[twice]), (twice, right[twice]), (good, right[good]), ("f" * 32, 1)]
    with published(certificates, "default") as source:
        assert source.compare_hashes(copied) == (3, 1)
        found = {row["row_id"]: row["is_removed"] for row in source.differences()}
    assert found == {missing: False, wrong: False, twice: False, "f" * 32: True}


def test_values_are_compared_whatever_the_hashes_say(certificates: Engine) -> None:
    """A value that somebody changed beside its hash, and a hash that is wrong beside its value."""
    with published(certificates, "default") as source:
        names = [column.name for column in source.columns]
        source.compare_hashes([])
        rows = [[row[name] for name in names] + [row["row_hash"]] for row in source.differences()]
    with published(certificates, "default") as source:
        assert source.compare_values(rows) == (0, 0)
    changed, wrong, *_ = rows
    changed[names.index("delivery_state")] = "accepted"
    wrong[-1] += 1
    with published(certificates, "default") as source:
        assert source.compare_values(rows) == (2, 0)


def test_a_column_that_is_added_empty_changes_no_row(certificates: Engine, run: Run) -> None:
    """A migration does not copy a million rows again; a value in the new column is a change."""
    _, before = read(certificates)
    for view in (HISTORY, CURRENT):
        [(query,)] = run("SELECT pg_get_viewdef(CAST(:name AS regclass))", name=f"springest.{view}")
        if view == HISTORY:
            query = f"SELECT *, NULL::text AS mood FROM ({query.rstrip('; ')}) AS before"  # noqa: S608
        run(f"CREATE OR REPLACE VIEW springest.{view} AS {query}")
    assert compare(certificates, before) == (0, 0)
    with published(certificates, "default") as source:
        assert "mood" in {column.name for column in source.columns}


def test_sites_are_apart(certificates: Engine) -> None:
    """One site's copy neither has nor removes another's rows."""
    add_delivery(certificates, "held", "T9", site="uk")
    checksum, rows = read(certificates, "uk")
    assert (checksum.rows, rows) == (0, {})


def test_a_copy_needs_the_rights_of_a_publisher_only(certificates: Engine) -> None:
    """The role that publishes; nothing else of the ledger is read."""
    names = grant_roles(certificates, RoleNames.with_prefix("copies"))
    with certificates.connect() as connection:
        connection.execute(text(f"SET ROLE {names.publisher}"))
        assert Published(connection, "default").checksum.rows == 4
    with certificates.begin() as connection:
        for name, _ in names.grants():
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))


def test_only_what_analysts_may_read_is_copied(certificates: Engine) -> None:
    """Each column is one that the readers' role may select."""
    names = grant_roles(certificates, RoleNames.with_prefix("copied"))
    with certificates.connect() as connection:
        connection.execute(text(f"SET ROLE {names.reader}"))
        source = Published(connection, "default")
        assert source.checksum.rows == 4
        by_reader = {column.name for column in source.columns}
    with published(certificates, "default") as source:
        assert {column.name for column in source.columns} == by_reader
    assert not {name for name in by_reader if "mail" in name or "uri" in name}
    with certificates.begin() as connection:
        for name, _ in names.grants():
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))


@contextmanager
def copying_elsewhere(engine: Engine):
    """Another process that copies the site until the block ends."""
    began, end = threading.Event(), threading.Event()

    def copy() -> None:
        with published(engine, "default"):
            began.set()
            end.wait(60)

    thread = threading.Thread(target=copy)
    thread.start()
    assert began.wait(60)
    try:
        yield end
    finally:
        end.set()
        thread.join()


def test_a_second_copy_waits_and_sees_what_came_meanwhile(
    certificates: Engine, change: Callable[[str], None]
) -> None:
    """Its snapshot begins after the first copy, or it would take newer rows back."""
    seen = []
    with copying_elsewhere(certificates) as end:
        second = threading.Thread(target=lambda: seen.append(read(certificates)[0].rows))
        second.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        with certificates.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for _ in range(600):
                if connection.execute(waiting).scalar_one():
                    break
                second.join(0.1)
        change("T3")
        end.set()
        second.join()
    assert seen == [5]


def test_a_copy_that_hangs_is_named(certificates: Engine) -> None:
    """The next one does not wait for ever, and says who holds the lock."""
    url = certificates.url.update_query_dict({"options": "-c lock_timeout=200ms"})
    engine = warehouse_engine(url)
    with copying_elsewhere(certificates), pytest.raises(WarehouseLocked), published(engine, "default"):
        pass
    engine.dispose()
