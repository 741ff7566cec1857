"""The catalogue: verified certifications as last listed; only a complete list takes any off it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from springest.api.models import Certification
from springest.catalogue import CatalogueEntry, CatalogueReport, load_catalogue, store_catalogue
from springest.errors import ConfigurationError
from springest.site import Site


def site(name: str = "default", **extra: Any) -> Site:
    return Site.from_connection(
        name=name, host="https://springest.example.com", password="k" * 20, extra=extra
    )


def listed(*numbers: int, requires: bool | None = None, name: str = "Name") -> list[Certification]:
    return [
        Certification(id=number, name=name, description=None, requires_valid_until=requires)
        for number in numbers
    ]


def store(
    warehouse: Engine, certifications: list[Certification], *, complete: bool = True, of: str = "default"
) -> CatalogueReport:
    with warehouse.begin() as connection:
        return store_catalogue(connection, of, certifications, complete=complete, run_id="night")


def entry(warehouse: Engine, number: int | None, of: Site | None = None) -> CatalogueEntry:
    with warehouse.connect() as connection:
        return load_catalogue(connection, of or site()).entry(number)


def test_a_listed_certification_is_known_with_what_it_requires(warehouse: Engine) -> None:
    """The catalogue stores whether a certification requires `valid_until`."""
    report = store(warehouse, listed(101, requires=True))
    assert report == CatalogueReport(listed=1, added=1, unlisted=0, complete=True)
    assert entry(warehouse, 101) == CatalogueEntry(listed=True, requires_valid_until=True)


def test_a_certification_not_in_the_list_is_not_listed(warehouse: Engine) -> None:
    """A certification that the list lacks is not listed."""
    store(warehouse, listed(101))
    assert entry(warehouse, 999) == CatalogueEntry(listed=False)
    assert entry(warehouse, None) == CatalogueEntry(listed=False)


def test_a_complete_list_removes_certifications(warehouse: Engine) -> None:
    """Certifications that a complete list lacks are no longer listed."""
    store(warehouse, listed(101, 102))
    assert store(warehouse, listed(102)) == CatalogueReport(listed=1, added=0, unlisted=1, complete=True)
    assert not entry(warehouse, 101).listed
    assert entry(warehouse, 102).listed


def test_a_partial_list_never_takes_one_off_but_still_adds(warehouse: Engine) -> None:
    """Partial evidence may confirm, never deny."""
    store(warehouse, listed(101, 102))
    report = store(warehouse, listed(103), complete=False)
    assert report == CatalogueReport(listed=1, added=1, unlisted=0, complete=False)
    assert all(entry(warehouse, number).listed for number in (101, 102, 103))


def test_only_a_complete_empty_list_removes_all(warehouse: Engine) -> None:
    """An empty list removes all certifications if it is complete, and none otherwise."""
    store(warehouse, listed(101))
    store(warehouse, [], complete=False)
    assert entry(warehouse, 101).listed
    assert store(warehouse, []).unlisted == 1
    assert not entry(warehouse, 101).listed


def test_a_returning_certification_keeps_its_first_day(warehouse: Engine) -> None:
    """A certification that returns is listed again, with its first day."""

    def first_seen() -> Any:
        with warehouse.connect() as connection:
            return connection.execute(
                text("SELECT first_seen_at, last_seen_at > first_seen_at FROM springest.certification")
            ).one()

    store(warehouse, listed(101))
    before = first_seen()[0]
    store(warehouse, [])
    store(warehouse, listed(101, requires=True, name="New name"))
    assert tuple(first_seen()) == (before, True)
    assert entry(warehouse, 101) == CatalogueEntry(listed=True, requires_valid_until=True)


def test_a_certification_that_is_listed_twice_is_stored_once(warehouse: Engine) -> None:
    """Pages overlap, and lists shift while they are read."""
    report = store(warehouse, [*listed(101), *listed(101, requires=True)])
    assert (report.listed, report.added) == (1, 1)
    assert entry(warehouse, 101).requires_valid_until is True


def test_each_site_has_its_own_catalogue(warehouse: Engine) -> None:
    """The catalogue of one site does not concern another."""
    store(warehouse, listed(101))
    store(warehouse, listed(102), of="other")
    assert entry(warehouse, 101).listed
    assert not entry(warehouse, 101, site("other")).listed
    store(warehouse, [], of="other")
    assert entry(warehouse, 101).listed


def test_a_catalogue_never_read_checks_nothing(warehouse: Engine) -> None:
    """Otherwise every row would be held for a list that nobody has seen, or of which no row could be read."""
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"never read: .*springest_catalogue"):
            entry(warehouse, 101)
        store(warehouse, [], complete=False)
    store(warehouse, [])
    assert not entry(warehouse, 101).listed


def test_an_unreadable_row_keeps_no_site_from_beginning(warehouse: Engine) -> None:
    """Listed certifications may be sent; the one that may be in the unreadable row is held, never removed."""
    store(warehouse, listed(101, 102), complete=False)
    assert entry(warehouse, 101).listed
    assert not entry(warehouse, 103).listed
    store(warehouse, listed(101), complete=False)
    assert entry(warehouse, 102).listed


def test_settings_allow_only_the_unlisted_to_be_sent(warehouse: Engine) -> None:
    """`send_unlisted` allows certifications that are not listed, and changes nothing else."""
    store(warehouse, listed(101))
    some, every = site(send_unlisted=[105]), site(send_unlisted=True)
    assert entry(warehouse, 105, some).may_send_unlisted
    assert not entry(warehouse, 106, some).may_send_unlisted
    assert entry(warehouse, 106, every).may_send_unlisted
    assert not entry(warehouse, 101, every).may_send_unlisted
    assert not entry(warehouse, None, every).may_send_unlisted


def test_every_read_of_the_catalogue_keeps_its_evidence(warehouse: Engine) -> None:
    """Each read of the catalogue is stored with its evidence."""
    store(warehouse, listed(101, 102))
    store(warehouse, listed(101), complete=False)
    with warehouse.connect() as connection:
        scans = connection.execute(
            text("SELECT run_id, listed, complete FROM springest.catalogue_scan ORDER BY scan_id")
        ).all()
    assert [tuple(scan) for scan in scans] == [("night", 2, True), ("night", 1, False)]
