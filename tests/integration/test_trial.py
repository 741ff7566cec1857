"""From a trial to production in one Airflow: a new ledger sends only what was certainly never sent."""

from __future__ import annotations

import secrets

import pytest
from sqlalchemy import Engine, NullPool, create_engine

from demo.postgres import EmbeddedPostgres
from sandbox.server import SandboxServer
from springest.errors import ConfigurationError, DecisionRefused, LedgerBehind
from springest.review.trial import follow_trial
from springest.site import Site
from springest.staging.site_identity import keep_to_site

from .conftest import CERTIFICATIONS, World

REAL = "https://springest.example.com"


def _site(host: str = REAL, key: str = "the-real-sites-key", name: str = "default") -> Site:
    return Site.from_connection(name=name, host=host, password=key)


@pytest.fixture
def trial(world):
    """A trial that has sent two certificates to a Springest on this machine."""
    world.complete(world.training(), world.training())
    world.night()
    return world


@pytest.fixture
def real(trial: World, postgres: EmbeddedPostgres, migrated: str):
    """The same source and Airflow, with a new warehouse and another Springest."""
    name = f"warehouse_{secrets.token_hex(6)}"
    url = postgres.create_database(name, template=migrated)
    with SandboxServer(certifications=CERTIFICATIONS, api_key="the-real-sites-key") as sandbox:
        world = World(sandbox, trial.source, url, trial.folder, kept=trial.kept)
        yield world
        world.warehouse.dispose()
    postgres.drop_database(name)


def _follow(real: World, trial: Engine, site: Site | None = None, **values) -> int:
    given = {"kept": [real.kept.read()], "by": "anna", "reason": "the trial is over", **values}
    return follow_trial(real.warehouse, trial, site=site or _site(), **given)


def test_a_new_ledger_follows_a_trial_and_sends_everything_once(trial, real):
    """Its numbers go on above the trial's, and no training is taken for one that may have been sent."""
    with pytest.raises(LedgerBehind, match="From trial to production"):
        real.deliver()
    assert _follow(real, trial.warehouse) == 2
    real.catalogue()
    real.stage()
    assert real.deliver().accepted == 2
    later = trial.training()
    real.complete(later)
    real.night("second")
    assert set(real.statuses().values()) == {("verified", None)}
    assert (trial.posts, real.posts) == (2, 3)
    assert real.rows("SELECT min(attempt_id) > 2, count(*) FROM springest.delivery_attempt") == [(True, 3)]


@pytest.mark.parametrize(
    ("site", "kept", "message"),
    [
        (_site("https://127.0.0.1:9"), 2, "the trial also sent to localhost"),
        (_site(), 3, "another ledger has sent certificates as well"),
    ],
    ids=["the same host", "an attempt that the trial does not know"],
)
def test_a_trial_in_a_used_ledger_cannot_be_ended(trial, real, site, kept, message):
    """It is refused if something may have been sent from this ledger."""
    with pytest.raises(DecisionRefused, match=message):
        _follow(real, trial.warehouse, site, kept=[kept])
    with pytest.raises(DecisionRefused, match="with the same key"):
        _follow(real, trial.warehouse, _site(key=trial.site.api_key))
    assert real.rows("SELECT count(*) FROM springest.ledger_restoration") == [(0,)]
    with pytest.raises(LedgerBehind):
        real.deliver()


def test_only_a_new_ledger_can_follow_a_trial_that_sent(trial, real):
    """Only a new ledger can follow a trial, and only a trial that sent something."""
    with pytest.raises(DecisionRefused, match="attempts of its own"):
        follow_trial(trial.warehouse, trial.warehouse, site=_site(), kept=[2], by="anna", reason="once more")
    empty = create_engine(real.warehouse_url, poolclass=NullPool)
    with pytest.raises(DecisionRefused, match="never staged"):
        _follow(real, empty, kept=[None])


def test_the_trials_account_is_refused_later_under_any_name(trial, real):
    """A site that is added years later, or a connection that is turned back."""
    _follow(real, trial.warehouse)
    for name in ("default", "uk"):
        site = _site(trial.sandbox.url, trial.site.api_key, name)
        with (
            pytest.raises(ConfigurationError, match=r"'default \(trial\)'"),
            real.warehouse.begin() as connection,
        ):
            keep_to_site(connection, site)
    assert real.rows("SELECT settled_by, follows_trial FROM springest.ledger_restoration") == [("anna", True)]
