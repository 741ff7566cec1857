"""The command that forgets a learner, over a real warehouse."""

from __future__ import annotations

import io

import pytest
from sqlalchemy import Engine, text

from springest_provider.cli.__main__ import main
from springest_provider.cli.output import Exit
from tests.factories import PSEUDONYMS, SECRET, add_delivery

ADDRESS = "Zoë@example.com"
REF = PSEUDONYMS.learner_ref(ADDRESS)


@pytest.fixture
def filled(connected_warehouse: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A warehouse with one learner in it."""
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", SECRET)
    add_delivery(connected_warehouse, learner_ref=REF)
    return connected_warehouse


def code_of(arguments: list[str]) -> int:
    """Run a command; what the command line itself refuses leaves by ``SystemExit``."""
    try:
        return main(arguments)
    except SystemExit as left:
        return int(str(left.code))


def ledger(warehouse: Engine) -> tuple[str | None, str]:
    with warehouse.connect() as connection:
        return tuple(connection.execute(text("SELECT learner_ref, state FROM springest.delivery")).one())


def test_an_email_is_read_from_stdin_and_never_printed(
    filled: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no argument, because arguments are in the shell's history and in the process list."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f" {ADDRESS.upper()} \n"))
    assert main(["erase", "--address-from-stdin"]) == 0
    assert ledger(filled) == (None, "invalid")
    output = capsys.readouterr()
    assert "erased; rows cleared: delivery 1" in output.out
    assert "1 certificates will not be sent" in output.out
    assert "example" not in (output.out + output.err).lower()


def test_a_reference_is_enough_and_an_erasure_can_be_lifted(
    filled: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learner can be erased by reference, and the erasure can be lifted."""
    assert main(["erase", "--learner-ref", REF]) == 0
    assert ledger(filled) == (None, "invalid")
    assert main(["erase", "--learner-ref", REF, "--lift"]) == 0
    assert main(["erase", "--learner-ref", REF, "--lift"]) == Exit.NOTHING
    output = capsys.readouterr().out
    assert "the erasure is lifted" in output
    assert "no learner with this address or reference was erased" in output


@pytest.mark.parametrize("address", ["zoe@example.com", "zo\u00ebe@example.com", "no address at all"])
def test_an_unknown_email_is_reported_and_erases_nobody(
    filled: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    """The owner of the mistyped address may be a learner tomorrow."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{address}\n"))
    assert main(["erase", "--address-from-stdin"]) == Exit.NOTHING
    assert ledger(filled) == (REF, "ready")
    assert "no learner has this address" in capsys.readouterr().out
    with filled.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM springest.erasure_tombstone")).scalar_one() == 0


def test_a_learner_may_be_erased_before_anything_is_staged(
    filled: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The address is right, and its first training comes tonight."""
    monkeypatch.setattr("sys.stdin", io.StringIO("new@example.com\n"))
    assert main(["erase", "--address-from-stdin", "--in-advance"]) == 0
    assert "nothing is ever sent" in capsys.readouterr().out
    with filled.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM springest.erasure_tombstone")).scalar_one() == 1


def test_erasing_again_is_fine(filled: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    """Erasing is idempotent."""
    assert main(["erase", "--learner-ref", REF]) == 0
    assert main(["erase", "--learner-ref", REF]) == 0
    assert "nobody" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ("ana@bücher.example", "ANA@XN--BCHER-KVA.EXAMPLE."),
        ("ana@xn--bcher-kva.example", "ana@bu\u0308cher。example"),
        ("zoë@example.com", '"ZOE\u0308"@EXAMPLE.COM'),
    ],
)
def test_every_spelling_of_a_mailbox_is_erased(
    filled: Engine, monkeypatch: pytest.MonkeyPatch, known: str, asked: str
) -> None:
    """All references of a mailbox's spellings are erased."""
    with filled.begin() as begun:
        begun.execute(
            text("UPDATE springest.delivery SET learner_ref = :ref"),
            {"ref": PSEUDONYMS.learner_ref(known)},
        )
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{asked}\n"))
    assert main(["erase", "--address-from-stdin"]) == 0
    assert ledger(filled) == (None, "invalid")


@pytest.mark.parametrize("given", [["--learner-ref", "zoë@example.com"], ["--address-from-stdin"], []])
def test_anything_else_is_refused_and_nothing_is_erased(
    filled: Engine, monkeypatch: pytest.MonkeyPatch, given: list[str]
) -> None:
    """An empty line is not an address, and an address is not a reference."""
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert code_of(["erase", *given]) == 2
    assert ledger(filled) == (REF, "ready")


def test_a_missing_secret_is_reported(
    filled: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the learner secret the command fails and names it."""
    monkeypatch.delenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET")
    monkeypatch.setattr("springest_provider.factories.read_variable", lambda _: None)
    assert main(["erase", "--learner-ref", REF]) == 1
    assert "springest_learner_secret is missing" in capsys.readouterr().err
