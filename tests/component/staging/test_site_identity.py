"""A site's name belongs to one account at Springest, over a real PostgreSQL."""

from __future__ import annotations

import logging
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, insert, select, text

from springest.db.roles import RoleNames, grant_roles
from springest.db.schema import site_identity
from springest.errors import ConfigurationError
from springest.site import Site
from springest.staging.site_identity import keep_to_site, require_same_host
from tests.factories import add_delivery

NL = "https://api.springest.nl"
UK = "https://api.springest.co.uk"


def site(name: str = "default", host: str = NL, key: str = "canary-key") -> Site:
    return Site.from_connection(name=name, host=host, password=key)


def use(warehouse: Engine, site: Site) -> None:
    with warehouse.begin() as connection:
        keep_to_site(connection, site)


def noted(warehouse: Engine) -> dict[str, tuple[str, str]]:
    with warehouse.connect() as connection:
        return {
            row.site: (row.host, row.key_fingerprint) for row in connection.execute(select(site_identity))
        }


def identity(site: Site, host: str = "api.springest.nl") -> tuple[str, str]:
    return host, site.key_fingerprint


def test_a_later_use_moves_only_the_last_use(warehouse: Engine) -> None:
    """The first use of a site is recorded; a later one changes only the time of the last use."""
    times = select(site_identity.c.first_used_at, site_identity.c.last_used_at)
    use(warehouse, site())
    with warehouse.connect() as connection:
        first = connection.execute(times).one()
    use(warehouse, site())
    with warehouse.connect() as connection:
        again = connection.execute(times).one()
    assert noted(warehouse) == {"default": identity(site())}
    assert again.first_used_at == first.first_used_at
    assert again.last_used_at > first.last_used_at


def test_sites_of_two_countries_are_two_sites(warehouse: Engine) -> None:
    """Other hosts, other keys: nobody stands in the other's way, in whatever order they come."""
    nl, uk = site("nl"), site("uk", UK, "another-key")
    for each in (nl, uk, nl):
        use(warehouse, each)
    assert noted(warehouse) == {"nl": identity(nl), "uk": identity(uk, "api.springest.co.uk")}


def test_a_second_name_for_an_account_is_refused(warehouse: Engine) -> None:
    """Both names, the remedy and no key are in the message; the former name is all that is needed to
    continue.
    """
    use(warehouse, site())
    with pytest.raises(ConfigurationError) as refused:
        use(warehouse, site("nl"))
    message = str(refused.value)
    for part in ("'nl'", "'default'", "id springest_default back", "host and key"):
        assert part in message
    assert "canary-key" not in message
    use(warehouse, site())
    assert noted(warehouse) == {"default": identity(site())}


def test_a_rotated_key_gets_no_second_name_either(warehouse: Engine) -> None:
    """A rotated key is recorded, and another name with the new key is refused as well."""
    rotated = site(key="the-new-key")
    use(warehouse, site())
    add_delivery(warehouse, "accepted")
    use(warehouse, rotated)
    assert noted(warehouse) == {"default": identity(rotated)}
    with pytest.raises(ConfigurationError, match="springest_default"):
        use(warehouse, site("nl", key="the-new-key"))


def test_a_host_of_a_trial_is_refused_with_any_key(warehouse: Engine) -> None:
    """The trial's key was rotated since; only a person knows whether it is another account."""
    use(warehouse, site("uk", UK, "the-real-key"))
    with warehouse.begin() as connection:
        row = {"site": "default (trial)", "host": "api.springest.nl", "key_fingerprint": "0" * 16}
        connection.execute(insert(site_identity).values(row))
    for refused_site in (site("nl", key="a-rotated-key"), site("uk", NL, "the-real-key")):
        with pytest.raises(ConfigurationError, match=r"a trial sent .* record 'default \(trial\)'"):
            use(warehouse, refused_site)
    use(warehouse, site("uk", UK, "the-real-key"))
    with warehouse.begin() as connection:
        connection.execute(delete(site_identity).where(site_identity.c.site == "default (trial)"))
    use(warehouse, site("nl", key="a-rotated-key"))


def test_a_local_server_after_a_trial_at_one_is_no_springest(warehouse: Engine) -> None:
    """Sandboxes may be used again, each with a key of its own."""
    with warehouse.begin() as connection:
        row = {"site": "default (trial)", "host": "localhost", "key_fingerprint": "0" * 16}
        connection.execute(insert(site_identity).values(row))
    use(warehouse, site(host="http://127.0.0.1:8765"))


def test_connections_of_two_sites_that_were_swapped_are_refused(warehouse: Engine) -> None:
    """An account that is known under another name is refused to a site that has a name already."""
    use(warehouse, site("nl"))
    use(warehouse, site("uk", UK, "another-key"))
    with pytest.raises(ConfigurationError, match=r"'uk' has the host .* of the site 'nl'"):
        use(warehouse, site("uk"))


@pytest.mark.parametrize(
    ("state", "values"),
    [
        ("accepted", {"springest_certificate_id": 7}),
        ("visible", {"springest_certificate_id": 7}),
        ("rejected", {"sent_at": "2026-11-02T00:00:00Z"}),
        ("ready", {"sent_at": "2026-11-02T00:00:00Z"}),
        ("sending", {"lease_owner": "worker"}),
        ("unknown", {}),
    ],
)
def test_another_host_is_refused_once_something_was_sent(
    warehouse: Engine, state: str, values: dict[str, Any]
) -> None:
    """One ledger never covers two Springests; the former host is all that is needed to continue."""
    use(warehouse, site())
    add_delivery(warehouse, state, **values)
    with pytest.raises(ConfigurationError) as refused:
        use(warehouse, site(host=UK))
    for part in ("'default'", "api.springest.nl,", "api.springest.co.uk", "springest_default", "former host"):
        assert part in str(refused.value)
    use(warehouse, site())
    assert noted(warehouse) == {"default": identity(site())}


def test_another_host_is_accepted_while_nothing_was_sent(warehouse: Engine) -> None:
    """A host that was corrected before the first night; certificates of other sites don't matter."""
    use(warehouse, site())
    add_delivery(warehouse, "ready")
    add_delivery(warehouse, "unknown", site="other")
    use(warehouse, site(host=UK))
    assert noted(warehouse) == {"default": identity(site(), "api.springest.co.uk")}


def test_another_host_is_not_read_and_nothing_is_recorded(warehouse: Engine) -> None:
    """Its certificates would be taken for those that were sent to the first."""
    require_same_host(warehouse, site())
    assert noted(warehouse) == {}
    use(warehouse, site())
    before = noted(warehouse)
    require_same_host(warehouse, site(host=UK))
    add_delivery(warehouse, "accepted")
    require_same_host(warehouse, site())
    with pytest.raises(ConfigurationError, match="would mix two Springest sites"):
        require_same_host(warehouse, site(host=UK))
    assert noted(warehouse) == before


def test_a_move_of_springest_is_recorded_by_hand(warehouse: Engine) -> None:
    """The statement is in docs/operations.md."""
    use(warehouse, site())
    add_delivery(warehouse, "unknown")
    with warehouse.begin() as connection:
        connection.execute(
            text("UPDATE springest.site_identity SET host = 'api.springest.co.uk' WHERE site = 'default'")
        )
    use(warehouse, site(host=UK))
    assert noted(warehouse) == {"default": identity(site(), "api.springest.co.uk")}


def test_a_local_server_may_change_its_port_and_spelling(warehouse: Engine) -> None:
    """A sandbox gets another port each time it starts; the real Springest is another host all the same."""
    use(warehouse, site(host="http://127.0.0.1:5001"))
    add_delivery(warehouse, "unknown")
    for host in ("http://127.0.0.1:5002", "http://localhost:5003", "http://[::1]:5004"):
        use(warehouse, site(host=host))
    assert noted(warehouse) == {"default": identity(site(), "localhost")}
    with pytest.raises(ConfigurationError, match=r"localhost, and its connection now has the host api\."):
        use(warehouse, site())


def test_a_new_name_at_a_known_host_causes_a_warning(
    warehouse: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be a second account, or the same one renamed with a rotated key: only a person knows."""
    use(warehouse, site())
    with caplog.at_level(logging.WARNING):
        use(warehouse, site("nl", key="another-key"))
        assert "give the connection its former id springest_default back" in caplog.text
        caplog.clear()
        use(warehouse, site("nl", key="another-key"))
    assert caplog.text == ""


def test_one_of_several_concurrent_names_is_recorded(warehouse: Engine, warehouse_url: str) -> None:
    """Eight names at the same moment: one continues, and each of the others gets an error that names it."""

    def begin(number: int) -> str:
        engine = create_engine(warehouse_url)
        try:
            use(engine, site(f"site{number}"))
        except ConfigurationError as error:
            return str(error)
        else:
            return "noted"
        finally:
            engine.dispose()

    with ThreadPoolExecutor(8) as pool:
        messages = list(pool.map(begin, range(8)))
    (winner,) = noted(warehouse)
    assert messages.count("noted") == 1
    assert sum(f"springest_{winner} back" in result for result in messages) == 7


def test_a_writer_may_note_and_update_a_site(warehouse: Engine) -> None:
    """The role that stages has the rights it takes."""
    names = RoleNames.with_prefix(f"t{secrets.token_hex(6)}")
    grant_roles(warehouse, names)
    try:
        for key in ("canary-key", "the-new-key"):
            with warehouse.begin() as connection:
                connection.execute(text(f"SET LOCAL ROLE {names.writer}"))
                keep_to_site(connection, site(key=key))
        assert noted(warehouse) == {"default": identity(site(key="the-new-key"))}
    finally:
        with warehouse.begin() as connection:
            for name, _ in names.grants():
                connection.execute(text(f"DROP OWNED BY {name}"))
                connection.execute(text(f"DROP ROLE {name}"))
