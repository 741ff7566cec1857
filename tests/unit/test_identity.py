"""Keys and references: stable, without a personal part, and never two for one or one for two."""

# ruff: noqa: RUF001 - letters that look alike are what these tests are about
from __future__ import annotations

import hashlib
import re
import unicodedata

import idna
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from springest.errors import ConfigurationError
from springest.identity import ADDRESS_RULE, Pseudonyms, delivery_key, mailbox
from tests.factories import SECRET

PSEUDONYMS = Pseudonyms(SECRET)
KNOWN = {
    "ana@example.com": "6db0f0c1e167",
    "ana@bücher.example": "a94c9ff7ddd7",
    "jan.weiß@example.com": "66cde5fe01b2",
    "ΝΙΚΟΣ@παράδειγμα.example": "7310dd46eb01",
    '"ana x"@example.com': "de8c5f4dc0ae",
    "no address": "3f8481af94c3",
}
TEXTS = st.text(alphabet=st.characters(codec=None))


def test_a_delivery_key_never_changes() -> None:
    """A key that changed would send every certificate a second time."""
    known = "5cec6f0a0e4f22f98fdf67f0eb327e8a4f94fcab8c0725b05354bdc010482559"
    assert delivery_key(site="default", training_id="T1", issue_no=1) == known


@given(first=st.tuples(TEXTS, TEXTS, st.integers(1)), second=st.tuples(TEXTS, TEXTS, st.integers(1)))
def test_two_certificates_never_share_a_key(
    first: tuple[str, str, int], second: tuple[str, str, int]
) -> None:
    """Different trainings or issues have different delivery keys."""
    keys = {
        delivery_key(site=site, training_id=name, issue_no=issue) for site, name, issue in (first, second)
    }
    assert len(keys) == len({first, second})


def test_moving_a_letter_from_site_to_training_gives_another_key() -> None:
    """The parts are joined with their lengths."""
    keys = {
        delivery_key(site="a", training_id="b1", issue_no=1),
        delivery_key(site="ab", training_id="1", issue_no=1),
        delivery_key(site="a", training_id="b", issue_no=11),
    }
    assert len(keys) == 3


SPELLINGS = [
    ("zoë@example.com", "Zoë@Example.com"),
    ("zoë@example.com", " zoë@example.com \n"),
    ("zoë@example.com", "ZOE\u0308@EXAMPLE.COM"),
    ("zoë@example.com", "zoë@example.com."),
    ("zoë@example.com", "zoë@ｅｘａｍｐｌｅ．com"),
    ("zoë@example.com", '"zoë"@example.com'),
    ("zoë@example.com", '"z\\oe\u0308"@example.com'),
    ('"zoë x"@example.com', '"zoë\\ x"@example.com'),
    ("ana@bücher.example", "ana@xn--bcher-kva.example"),
    ("ana@bücher.example", "ANA@XN--BCHER-KVA.EXAMPLE"),
    ("ana@bücher.example", "ana@BU\u0308CHER。example"),
    ("ana@straße.example", "ana@xn--strae-oqa.example"),
    ("ana@[192.0.2.1]", "ANA@[192.0.2.1]"),
    ("νικος@example.com", "ΝΙΚΟΣ@example.com"),
    ("νικος.α@example.com", "ΝΙΚΟΣ.Α@example.com"),
    ("jan.weiß@example.com", "JAN.WEIẞ@example.com"),
]
NOT_SPELLINGS = [
    ("jan.weiß@example.com", "jan.weiss@example.com"),
    ("ana@straße.example", "ana@strasse.example"),
    ("zoe@example.com", "zoë@example.com"),
    ("ali@example.com", "alı@example.com"),  # Turkish: without a dot
    ("ibrahim@example.com", "İbrahim@example.com"),
    ("ana@example.com", "ａｎａ@example.com"),  # full width: NFKC would merge them
    ("file@example.com", "ﬁle@example.com"),
    ("a2@example.com", "a²@example.com"),
    ("jose@example.com", "joſe@example.com"),  # long s
    ("ana@example.com", "аna@example.com"),  # Cyrillic
    ("ana+work@example.com", "ana@example.com"),
    ("ana.maria@example.com", "anamaria@example.com"),
    ("ana@example.com", "ana@mail.example.com"),
    ('"ana x"@example.com', "anax@example.com"),
    ('"a@b"@example.com', "a@b"),
]


@pytest.mark.parametrize(("address", "spelling"), SPELLINGS)
def test_spellings_of_one_mailbox_are_one_learner(address: str, spelling: str) -> None:
    """Spellings of one mailbox have the same learner reference."""
    assert PSEUDONYMS.learner_ref(spelling) == PSEUDONYMS.learner_ref(address)


@pytest.mark.parametrize(("address", "another"), NOT_SPELLINGS)
def test_different_mailboxes_are_different_learners(address: str, another: str) -> None:
    """Different mailboxes have different learner references."""
    assert PSEUDONYMS.learner_ref(address) != PSEUDONYMS.learner_ref(another)


def test_a_reference_is_stable_for_a_rules_number() -> None:
    """If this fails, raise ``ADDRESS_RULE``: learners would be separated from what was sent to them."""
    made = {address: PSEUDONYMS.learner_ref(address)[:12] for address in KNOWN}
    assert (ADDRESS_RULE, made) == (1, KNOWN)


LOWER = st.characters(categories=("Ll", "Lo", "Nd"), exclude_characters="ς")
LOCALS = st.lists(st.text(LOWER, min_size=1, max_size=8), min_size=1, max_size=3).map(".".join)
LABELS = st.text(st.sampled_from("abcxyz0189éüñßøœαбжшאب中の한"), min_size=1, max_size=12)


def _is_domain(text: str) -> bool:
    try:
        idna.encode(text, uts46=True)
    except idna.IDNAError:
        return False
    return True


DOMAINS = (
    st.lists(LABELS, min_size=1, max_size=2)
    .map(lambda labels: f"{'.'.join(labels)}.example")
    .filter(_is_domain)
)


@given(local=LOCALS, domain=DOMAINS, data=st.data())
def test_every_spelling_of_a_generated_mailbox_is_the_same(
    local: str, domain: str, data: st.DataObject
) -> None:
    """Unicode or A-labels, NFC or NFD, the root's dot, upper case where it leads back, needless quotes."""
    shout = "".join(c.upper() if c.upper().lower() == c else c for c in local)
    locals_ = st.sampled_from([local, shout, f'"{local}"', unicodedata.normalize("NFD", local)])
    ascii_domain = idna.encode(domain, uts46=True).decode()
    domains = [domain, ascii_domain, ascii_domain.upper(), f"{domain}.", unicodedata.normalize("NFD", domain)]
    spelling = f"{data.draw(locals_)}@{data.draw(st.sampled_from(domains))}"
    assert mailbox(spelling) == mailbox(f"{local}@{domain}")


@given(st.tuples(LOCALS, DOMAINS), st.tuples(LOCALS, DOMAINS))
def test_two_generated_mailboxes_are_never_one(first: tuple[str, str], second: tuple[str, str]) -> None:
    """No two generated mailboxes share a normal form."""

    def identity(local: str, domain: str) -> tuple[str, bytes]:
        return unicodedata.normalize("NFC", local), idna.encode(domain, uts46=True)

    is_same = identity(*first) == identity(*second)
    assert (mailbox("@".join(first)) == mailbox("@".join(second))) == is_same


@given(
    address=st.one_of(TEXTS, st.tuples(TEXTS, TEXTS).map("@".join), st.tuples(LOCALS, TEXTS).map("@".join))
)
@example('"\\"@')
@example("a@..")
@example("a@xn--")
@example("a@" + "x" * 300)
@example("\ud800@\udfff.example")
def test_every_text_has_a_form_and_a_storable_reference(address: str) -> None:
    """Normalising is idempotent for any text, and its reference can be stored."""
    once = mailbox(address)
    assert mailbox(once) == once
    assert re.fullmatch("[0-9a-f]{64}", PSEUDONYMS.learner_ref(address))


def test_a_different_secret_gives_different_references() -> None:
    """A different secret gives different references and a different verifier."""
    different = Pseudonyms(SECRET + "!")
    assert PSEUDONYMS.learner_ref("zoe@example.com") != different.learner_ref("zoe@example.com")
    assert PSEUDONYMS.verifier(b"salt") != different.verifier(b"salt")
    assert PSEUDONYMS.verifier(b"salt") != PSEUDONYMS.verifier(b"pepper")


def test_references_differ_by_purpose() -> None:
    """A document named like an e-mail address can't be joined with its learner."""
    text = "zoe@example.com"
    assert (
        len({PSEUDONYMS.learner_ref(text), PSEUDONYMS.document_ref(text), PSEUDONYMS.row_version([text])})
        == 3
    )


@given(address=TEXTS, values=st.lists(TEXTS))
def test_rekeying_gives_the_references_of_both_secrets(address: str, values: list[str]) -> None:
    """So a rotation needs no e-mail address and no row, and learners who come later are recognised."""
    rotated = Pseudonyms("another secret, also long enough", (SECRET,))
    made = {
        PSEUDONYMS.learner_ref(address): rotated.learner_ref(address),
        PSEUDONYMS.document_ref(address): rotated.document_ref(address),
        PSEUDONYMS.row_version(values): rotated.row_version(values),
    }
    assert {rotated.rekeyed(former, made_with=1) for former in made} == set(made.values())
    assert not made.keys() & set(made.values())
    assert PSEUDONYMS.row_name(values) == rotated.row_name(values)
    tombstone = PSEUDONYMS.tombstone(PSEUDONYMS.learner_ref(address))
    assert PSEUDONYMS.tombstones(address) == {tombstone}
    assert rotated.tombstones(address) == {
        rotated.rekeyed(tombstone, made_with=1),
        rotated.tombstone(rotated.learner_ref(address)),
    }


def test_secrets_are_recognised_in_their_order() -> None:
    """Several secrets are recognised together and in their order."""
    first, two, three = (f"a secret for tests, number {number}, long enough" for number in range(3))
    chains = [(first,), (two,), (first, two), (two, first), (first, two, three), (first + two,)]
    verifiers = {Pseudonyms(chain[-1], chain[:-1]).verifier(b"salt") for chain in chains}
    assert len(verifiers) == len(chains)
    assert Pseudonyms(two, (first,)).verifier(b"salt", of=1) == Pseudonyms(first).verifier(b"salt")
    with pytest.raises(ConfigurationError, match="same secret twice"):
        Pseudonyms(first, (two, first))


def test_a_former_secret_may_be_weak() -> None:
    """That may be why it was rotated."""
    assert Pseudonyms(SECRET, ("a" * 16,)).learner_ref("zoe@example.com")


@given(first=st.lists(TEXTS), second=st.lists(TEXTS))
def test_two_rows_never_share_a_version(first: list[str], second: list[str]) -> None:
    """Rows with different values have different versions."""
    assert (PSEUDONYMS.row_version(first) == PSEUDONYMS.row_version(second)) == (first == second)


def test_no_reference_shows_the_email_or_the_secret() -> None:
    """Neither a reference nor a `repr` contains the e-mail address or the secret."""
    shown = f"{PSEUDONYMS!r} {PSEUDONYMS.learner_ref('zoe@example.com')} {PSEUDONYMS.verifier(b'salt')}"
    assert "zoe" not in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("hunter2" + "x7Qr" * 6, "shorter"),
        ("hunter2 and the other twelve of us\n", "printable"),
        (" hunter2 and the other twelve of us", "printable"),
        ("hunter2 änd the other twelve of us", "printable"),
        ("a" * 64, "different characters"),
        ("hunter2" * 20, "different characters"),
        ("hunter2-and-me," * 4, "repeats"),
        ("0123456789abcdefghijklmnopqrstuvwxyz", "alphabet"),
        ("ZYXWVUTSRQPONMLKJIHGFEDCBA9876543210", "alphabet"),
        ("qwertyuiopasdfghjklzxcvbnm1234567890", "keyboard"),
        ("aabbccddeeffgghhiijjkkllmmnnooppqq", "alphabet"),
    ],
)
def test_a_guessable_secret_is_refused_and_not_shown(secret: str, reason: str) -> None:
    """The error names the remedy and does not repeat the secret."""
    with pytest.raises(ConfigurationError, match=f"springest_learner_secret.*{reason}.*token_hex") as caught:
        Pseudonyms(secret)
    assert secret[:7] not in str(caught.value)


def test_a_secret_made_as_the_remedy_says_is_accepted() -> None:
    """The command that the error names makes an acceptable secret."""
    for number in range(1000):
        Pseudonyms(hashlib.sha256(b"%d" % number).hexdigest())
