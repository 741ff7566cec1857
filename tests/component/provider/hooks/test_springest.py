"""SpringestHook, over real HTTP."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest
from airflow.sdk.log import redact
from yarl import URL

from demo.pdf import make_pdf
from sandbox.store import NewCertificate
from springest.api.models import CertificateUpload
from springest.documents.opener import DocumentStore
from springest.errors import ConfigurationError, Unauthorized
from springest_provider.hooks.springest import SpringestHook


def _plant(sandbox, count):
    for number in range(count):
        sandbox.store.store(
            NewCertificate(certification_id=101, email=f"a{number}@example.com", valid_from="2026-01-01")
        )


def test_lists_come_page_by_page_as_they_are_asked_for(sandbox, connect):
    """Taking the first row asks for one page only."""
    connect()
    _plant(sandbox, 7)
    rows = SpringestHook().iter_certificates()
    assert next(rows).id == 1001
    assert len(sandbox.store.requests()) == 1
    assert [row.id for row in rows] == [1002, 1003, 1004, 1005, 1006, 1007]


def test_certifications_are_asked_for_with_their_own_key(sandbox, connect):
    """The two keys are not interchangeable."""
    connect()
    names = [certification.name for certification in SpringestHook().iter_certifications()]
    assert names == ["Certification 101", "Certification 102"]
    assert {request.key_name for request in sandbox.store.requests()} == {"certifications"}


def test_a_certificate_is_posted(sandbox, connect, tmp_path):
    """The synchronous way, for a task of somebody else's."""
    connect()
    path = Path(tmp_path / "certificate.pdf")
    path.write_bytes(make_pdf())
    with DocumentStore.under([str(tmp_path)]).open(str(path)) as document:
        answer = SpringestHook().post_certificate(
            CertificateUpload(
                certification_id=101, email="zoë@example.com", valid_from=date(2026, 1, 1), document=document
            )
        )
    assert (answer.status, answer.certificate_id) == (201, 1001)


@pytest.mark.parametrize(
    ("changes", "well", "message"),
    [
        ({}, True, "accepts both keys"),
        ({"password": "wrong-key"}, False, "the key for certificates fails"),
        ({"extra": {"certifications_api_key": "wrong-key"}}, False, "the key for certifications fails"),
        ({"extra": {"certifications_api_key": ""}}, False, "certifications_api_key is missing"),
        ({"host": "http://springest.example.com"}, False, "https"),
        ({"extra": {"requets_per_hour": 5}}, False, "did you mean requests_per_hour"),
        ({"host": "http://127.0.0.1:9"}, False, "no connection to 127.0.0.1:9"),
    ],
)
def test_the_test_button_names_the_key_that_fails(connect, changes, well, message):
    """Its message is shown as it is, so it contains no key."""
    connect(**changes)
    result = SpringestHook().test_connection()
    assert result[0] is well
    assert message in result[1]
    assert "wrong-key" not in result[1]


def test_the_http_providers_own_methods_are_refused(connect):
    """Extras as headers, retries, and a session that logs URLs cannot be had through inheritance."""
    connect()
    hook = SpringestHook()
    for call in (hook.config, hook.run):
        with pytest.raises(NotImplementedError, match="iter_certificates"):
            asyncio.run(call())
    with pytest.raises(NotImplementedError, match="iter_certificates"):
        hook.session()


def test_errors_are_the_projects_own(connect):
    """A wrong key has an error class of its own, which the retry rules use."""
    connect(password="wrong-key")
    with pytest.raises(Unauthorized) as caught:
        next(SpringestHook().iter_certificates())
    assert caught.value.__context__ is None


def test_a_connection_without_a_password_names_the_remedy(connect):
    """The first thing that goes wrong when a connection is new."""
    connect(password="")
    with pytest.raises(ConfigurationError, match="API key"):
        SpringestHook().get_site()


def test_airflow_masks_a_key_as_it_stands_in_addresses(connect):
    """It masks exact texts, and yarl escapes other characters than the standard library does."""
    connect(password="key!with(odd)+signs&more")
    SpringestHook().get_site()
    address = str(URL("https://api.example.com/").with_query(api_key="key!with(odd)+signs&more"))
    assert redact(address) == "https://api.example.com/?api_key=***"


@pytest.mark.parametrize(
    ("conn_id", "site"), [("springest_default", "default"), ("springest_be", "be"), ("mine", "mine")]
)
def test_the_site_is_named_after_its_connection(conn_id, site):
    """The name is part of every delivery's key."""
    assert SpringestHook(conn_id).site_name == site
