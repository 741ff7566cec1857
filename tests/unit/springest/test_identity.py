"""Keys and references: stable, without a personal part, and never two for one or one for two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.springest.errors import ConfigurationError
from include.springest.identity import SHORTEST_SECRET, Pseudonyms, delivery_key, normalised_address

SECRET = "a secret for tests only, long enough"
ONE = Pseudonyms(SECRET)
TEXTS = st.text(alphabet=st.characters(codec=None))


def test_a_key_stays_what_it_was_in_every_version_of_this_code() -> None:
    """A key that moved would send every certificate a second time."""
    known = "5cec6f0a0e4f22f98fdf67f0eb327e8a4f94fcab8c0725b05354bdc010482559"
    assert delivery_key(site="default", training_id="T1", issue_no=1) == known


@given(one=st.tuples(TEXTS, TEXTS, st.integers(1)), other=st.tuples(TEXTS, TEXTS, st.integers(1)))
def test_two_certificates_never_share_a_key(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    keys = {delivery_key(site=site, training_id=name, issue_no=issue) for site, name, issue in (one, other)}
    assert len(keys) == len({one, other})


def test_moving_a_letter_from_site_to_training_gives_another_key() -> None:
    """The parts are joined with their lengths."""
    keys = {
        delivery_key(site="a", training_id="b1", issue_no=1),
        delivery_key(site="ab", training_id="1", issue_no=1),
        delivery_key(site="a", training_id="b", issue_no=11),
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    "spelling", ["Zoë@Example.com", " zoë@example.com ", "ZOE\u0308@EXAMPLE.COM", "zoe\u0308@example.com"]
)
def test_spellings_of_one_address_are_one_learner(spelling: str) -> None:
    assert ONE.learner_ref(spelling) == ONE.learner_ref("zoë@example.com")


def test_different_addresses_are_different_learners() -> None:
    assert ONE.learner_ref("zoe@example.com") != ONE.learner_ref("zoë@example.com")


@given(address=TEXTS)
def test_normalising_twice_changes_nothing(address: str) -> None:
    once = normalised_address(address)
    assert normalised_address(once) == once


def test_another_secret_gives_other_references_and_another_fingerprint() -> None:
    other = Pseudonyms(SECRET + "!")
    assert ONE.learner_ref("zoe@example.com") != other.learner_ref("zoe@example.com")
    assert ONE.fingerprint != other.fingerprint
    assert len(ONE.fingerprint) == 16


def test_one_text_has_different_references_for_different_purposes() -> None:
    """A document named like an address can't be joined with its learner."""
    text = "zoe@example.com"
    assert len({ONE.learner_ref(text), ONE.document_ref(text), ONE.row_version([text])}) == 3


@given(one=st.lists(TEXTS), other=st.lists(TEXTS))
def test_two_rows_never_share_a_version(one: list[str], other: list[str]) -> None:
    assert (ONE.row_version(one) == ONE.row_version(other)) == (one == other)


def test_no_reference_and_no_representation_shows_the_address_or_the_secret() -> None:
    shown = f"{ONE!r} {ONE.learner_ref('zoe@example.com')} {ONE.fingerprint}"
    assert "zoe" not in shown
    assert SECRET not in shown


def test_a_short_secret_is_refused_with_the_remedy_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="springest_learner_secret") as caught:
        Pseudonyms("hunter2" + "x" * (SHORTEST_SECRET - 8))
    assert "hunter2" not in str(caught.value)
