"""Names of users as decisions record them."""

from __future__ import annotations

import pytest

from springest.errors import DecisionRefused
from springest_provider.users import recorded_name
from tests.factories import SECRET


@pytest.mark.parametrize(
    ("user_id", "name", "recorded"),
    [
        ("3", "anna", "anna"),
        ("3", "", "3"),
        ("3", "anna@example.com", "anna (user 3)"),
        ("adminka", "adminka", "adminka"),
    ],
)
def test_a_name_is_recorded_without_an_address(user_id: str, name: str, recorded: str) -> None:
    """With the identifier in place of the domain."""
    assert recorded_name(user_id, name) == recorded


def test_two_addresses_are_two_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the identifier is the address; one person keeps one name, after a rotation as well."""
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", SECRET)
    addresses = ("alice@example.org", "alice@example.com")
    first, second = (recorded_name(address, address) for address in addresses)
    assert first != second
    assert first.startswith("alice (user ")
    assert "example" not in f"{first}{second}"
    secrets = f'["{SECRET}", "another secret for tests, long enough"]'
    monkeypatch.setenv("AIRFLOW_VAR_SPRINGEST_LEARNER_SECRET", secrets)
    assert recorded_name("Alice@Example.org", "alice@example.org") == first


@pytest.mark.parametrize("login", ["admin", "Admin", "Anonymous", "airflow", "root", "admin@example.com"])
def test_a_shared_login_needs_a_name(login: str) -> None:
    """Another shared login is not accepted as a name."""
    for name in ("", " ", "root", "ADMIN"):
        with pytest.raises(DecisionRefused, match="several people share"):
            recorded_name(login, login, name)
    assert recorded_name(login, login, " anna ") == f"anna (as {login.partition('@')[0]})"
    assert recorded_name("anna", "anna", "somebody else") == "anna"
