"""The demo's nights: the same for the same seed, large enough, and with every kind of bad row."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date
from itertools import islice
from pathlib import Path

import pytest
from email_validator import validate_email

from demo.nights import CERTIFICATIONS, NOT_LISTED, PENDING, Expected, Night, nights
from demo.people import learners

FIRST = date(2026, 11, 2)


@pytest.fixture(scope="module")
def two() -> tuple[Night, ...]:
    return nights(7, first=FIRST, root="/certificates")


def test_a_seed_always_gives_the_same_nights(two: tuple[Night, ...]) -> None:
    """The same seed gives the same nights, another seed gives others."""
    random.random()  # the module's own chance must not matter  # noqa: S311
    assert nights(7, first=FIRST, root="/certificates") == two
    assert nights(8, first=FIRST, root="/certificates") != two


def test_two_nights_in_a_row_have_at_least_200_trainings(two: tuple[Night, ...]) -> None:
    """The demo has two nights on consecutive days, each of at least 200 trainings."""
    assert [night.day for night in two] == [date(2026, 11, 2), date(2026, 11, 3)]
    for night in two:
        assert sum(row.expected is Expected.SENT for row in night.trainings) >= 200
        assert {row.completed_at.date() for row in night.trainings} == {night.day}


@pytest.mark.parametrize("expected", list(Expected))
def test_every_kind_of_row_occurs_in_each_night(two: tuple[Night, ...], expected: Expected) -> None:
    """Each night contains every kind of good and bad row."""
    for night in two:
        assert any(row.expected is expected for row in night.trainings)


def test_each_bad_row_has_the_defect_it_is_named_after(two: tuple[Night, ...]) -> None:
    """Each bad row has the defect that its kind names, and no other."""
    requires = {
        certification.id
        for certification in CERTIFICATIONS
        if certification.requires_valid_until and certification.verified
    }
    for row in (row for night in two for row in night.trainings):
        wrong = {
            Expected.VALID_UNTIL_REQUIRED: row.valid_until is None and row.certification_id in requires,
            Expected.CERTIFICATION_NOT_LISTED: row.certification_id == NOT_LISTED,
            Expected.DOCUMENT_OUTSIDE_ROOTS: not row.certificate_uri.startswith("/certificates/"),
            Expected.EMAIL_MISSING: row.learner.email is None,
            Expected.EMAIL_MALFORMED: (row.learner.email or "").count("@") > 1,
            Expected.DATES_REVERSED: row.valid_until is not None and row.valid_until < row.valid_from,
        }
        assert {kind for kind, holds in wrong.items() if holds} <= {row.expected}
        assert wrong.get(row.expected, True)


def test_only_rows_meant_as_duplicates_share_a_number(two: tuple[Night, ...]) -> None:
    """Only the rows meant as duplicates share a training number or a certificate; otherwise the demo's sums
    would be wrong.
    """
    rows = [row for night in two for row in night.trainings]
    ids = Counter(row.training_id for row in rows)
    for row in rows:
        twice = row.expected in {Expected.SAME_ROW_AGAIN, Expected.CONFLICTING_ROWS}
        again = any(
            copy.expected is Expected.SAME_ROW_AGAIN and copy.training_id == row.training_id for copy in rows
        )
        assert ids[row.training_id] == (2 if twice or again else 1)
    good = [row for row in rows if row.expected is Expected.SENT]
    certificates = {(row.certification_id, row.learner.email, row.valid_from) for row in good}
    assert len(certificates) == len(good)


def test_a_certification_is_verified_at_first_or_later_or_waits(two: tuple[Night, ...]) -> None:
    """Each certification of the demo is verified before the first night, before the second, or never."""
    kinds = Counter(
        (certification.verified, certification.verified_between) for certification in CERTIFICATIONS
    )
    assert set(kinds) == {(True, False), (False, True), (False, False)}
    assert {certification.id for certification in CERTIFICATIONS if not certification.verified} == set(
        PENDING
    )
    assert NOT_LISTED not in {certification.id for certification in CERTIFICATIONS}
    sent = {row.certification_id for night in two for row in night.trainings if row.expected is Expected.SENT}
    assert sent == {certification.id for certification in CERTIFICATIONS}


def test_a_night_on_29_february_has_a_valid_until() -> None:
    """A training completed on 29 February gets a `valid_until` in a year without that day."""
    (night,) = nights(7, first=date(2028, 2, 29), count=1, root="/certificates")
    ends = {row.valid_until for row in night.trainings if row.expected is Expected.SENT and row.valid_until}
    assert ends
    assert all(end.year > 2028 for end in ends)


def test_no_representation_shows_a_learner(two: tuple[Night, ...]) -> None:
    """The `repr` of a demo row contains no name and no e-mail address."""
    training = two[0].trainings[0]
    assert training.learner.name not in repr(training)


def test_learners_have_example_addresses_and_accented_names() -> None:
    """Learners have valid e-mail addresses on example domains, and some names have accents."""
    people = list(islice(learners(7), 300))
    for person in people:
        assert person.email is not None
        assert person.email.partition("@")[2] in {"example.com", "example.org", "example.net"}
        assert person.email.isascii()
        validate_email(person.email, check_deliverability=False)
    assert len({person.email for person in people}) == 300
    assert sum(not person.name.isascii() for person in people) > 100
    assert people == list(islice(learners(7), 300))


def test_the_uris_of_good_rows_are_under_the_root(tmp_path: Path) -> None:
    """The URI of each good row is in the document root."""
    (night,) = nights(7, first=FIRST, count=1, root=str(tmp_path))
    good = [row for row in night.trainings if row.expected is Expected.SENT]
    assert {Path(row.certificate_uri).parent for row in good} == {tmp_path}
