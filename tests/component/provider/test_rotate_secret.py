"""The command that rotates the learner secret, over a real warehouse."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Engine, text

from springest.errors import ConfigurationError
from springest.privacy.secret import keep_to_secret, secret_in_use
from springest_provider import factories
from springest_provider.cli.__main__ import main
from tests.factories import PSEUDONYMS, add_delivery
from tests.factories import SECRET as FORMER

NEW = "a new secret for tests, long enough too"
ADDRESS = "zoë@example.com"


@pytest.fixture
def filled(connected_warehouse: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A warehouse with one learner, and both secrets in the Variable."""
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", json.dumps([FORMER, NEW]))
    with connected_warehouse.begin() as begun:
        keep_to_secret(begun, PSEUDONYMS)
    add_delivery(connected_warehouse, learner_ref=PSEUDONYMS.learner_ref(ADDRESS))
    return connected_warehouse


def reference(warehouse: Engine) -> str:
    with warehouse.connect() as connection:
        return str(connection.execute(text("SELECT learner_ref FROM springest.delivery")).scalar_one())


def test_the_secret_is_rotated_once_and_no_secret_is_shown(
    filled: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second rotation changes nothing, and the output contains no secret."""
    assert main(["rotate-secret"]) == 0
    assert reference(filled) == factories.pseudonyms().learner_ref(ADDRESS)
    assert main(["rotate-secret"]) == 0
    output = capsys.readouterr()
    assert "re-keyed; rows: " in output.out
    assert "delivery 1" in output.out
    assert "nothing was changed" in output.out
    for secret in (FORMER, NEW):
        assert secret not in output.out + output.err


def test_a_rotation_names_the_run_that_uses_the_secret(
    filled: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    """The refusal names the run that still works with the secret."""
    with secret_in_use(filled, PSEUDONYMS):
        assert main(["rotate-secret"]) == 1
    assert "pause the DAGs" in capsys.readouterr().err
    assert reference(filled) == PSEUDONYMS.learner_ref(ADDRESS)


@pytest.mark.parametrize("value", ["[", "[]", '["a"', '[""]', "[1]", '[["x"]]', '["former", null]'])
def test_a_malformed_secret_variable_is_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A Variable that is no list of secrets is refused without being shown."""
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", value)
    with pytest.raises(ConfigurationError, match="JSON list of secrets") as caught:
        factories.pseudonyms()
    assert '"former", null' not in str(caught.value)
