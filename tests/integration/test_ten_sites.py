"""Ten sites of one list, over one source and one warehouse: each sends its own certificates, once."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from sandbox.server import SandboxServer
from springest.errors import ConfigurationError
from springest.session import open_session
from springest.snapshot.snapshot import take_snapshot
from springest_provider.sites import load_sites

from .conftest import CERTIFICATIONS, QUERY, World, sent

NAMES = [f"site_{letter}" for letter in "abcdefghij"]
TRAININGS = 3
FILTERED = f"SELECT * FROM ({QUERY}\n) AS completed WHERE completed.training_id LIKE :prefix"  # noqa: S608 - a file


@pytest.fixture
def worlds(world, tmp_path, monkeypatch):
    """A world for each site of the list; the last two have one host and one key."""
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "by_site.sql").write_text(FILTERED)
    listed = "".join(
        f'[{name}]\nquery = "by_site.sql"\nfilter = {{ prefix = "{name}:%" }}\n' for name in NAMES
    )
    (tmp_path / "sites.toml").write_text(listed)
    monkeypatch.setenv("AIRFLOW__SPRINGEST__SITES_FILE", str(tmp_path / "sites.toml"))
    found = load_sites()
    assert found.problems == {}
    with ExitStack() as stack:
        sandboxes = [
            stack.enter_context(SandboxServer(certifications=CERTIFICATIONS, api_key=f"key-of-{name}"))
            for name in NAMES[:-1]
        ]
        made = {}
        for name, sandbox in zip(NAMES, [*sandboxes, sandboxes[-1]], strict=True):
            settings = found.find(name)
            query = (found.sql_folder / settings.query).read_text()
            folder = tmp_path / name
            made[name] = World(
                sandbox,
                world.source,
                world.warehouse_url,
                folder,
                name=name,
                query=query,
                parameters=settings.filter,
            )
            stack.callback(made[name].warehouse.dispose)
        yield made


def _complete(worlds: dict[str, World]) -> dict[str, list]:
    """Let each site's learners complete trainings, under ids of its own."""
    completed = {}
    for number, (name, world) in enumerate(worlds.items()):
        world.number = number * TRAININGS
        completed[name] = [
            world.training(training_id=f"{name}:{count}", certification_id=102) for count in range(TRAININGS)
        ]
        world.complete(*completed[name])
    return completed


def test_each_site_sends_its_own_certificates_once(worlds):
    """A second name for an account is refused before it sends anything, and stops no other site."""
    completed = _complete(worlds)
    for run_id in ("first", "second"):
        for name in NAMES[:-1]:
            worlds[name].night(run_id)
        worlds[NAMES[-1]].catalogue(run_id)
        with pytest.raises(ConfigurationError, match="same Springest account"):
            worlds[NAMES[-1]].stage(run_id)
    for name in NAMES[:-1]:
        assert worlds[name].stored == sent(*completed[name])
        assert worlds[name].posts == TRAININGS
    states = worlds[NAMES[0]].rows("SELECT site, state, count(*) FROM springest.delivery GROUP BY 1, 2")
    assert sorted(map(tuple, states)) == [(name, "visible", TRAININGS) for name in NAMES[:-1]]


def test_two_sites_with_one_key_share_its_rate_limit(worlds):
    """The limit is the key's: every request of both is granted by one row."""
    both = [worlds[name] for name in NAMES[-2:]]
    sandbox = both[0].sandbox

    async def read(world: World) -> None:
        async with open_session(world.warehouse_url, world.site) as session:
            await take_snapshot(
                session.engine, session.client, site=world.name, run_id="night", pseudonyms=world.pseudonyms
            )

    async def read_both() -> None:
        await asyncio.gather(*map(read, both * 3))

    asyncio.run(read_both())
    requests = [request for request in sandbox.store.requests() if request.key_name == "certificates"]
    assert len(requests) >= len(both) * 3
    [(granted,)] = both[0].rows(
        "SELECT granted FROM springest.rate_limit WHERE host = :host AND key_fingerprint = :key",
        host=both[0].site.host,
        key=both[1].site.key_fingerprint,
    )
    assert granted == len(requests)
    assert len(both[0].rows("SELECT FROM springest.rate_limit")) == 2, "the key's row, and that of its reads"
