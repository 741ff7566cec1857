"""Hook for Springest's certificates API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, quote_plus

from airflow.providers.http.hooks.http import HttpAsyncHook
from airflow.sdk.log import mask_secret
from yarl import URL

from springest.api.client import Pages, SpringestClient
from springest.api.models import Certificate, CertificateUpload, Certification, PostAnswer
from springest.errors import ApiError, ConfigurationError
from springest.site import Site
from springest_provider.lookups import read_connection

Row = TypeVar("Row", Certificate, Certification)
PREFIX = "springest_"


class SpringestHook(HttpAsyncHook):
    """
    Talk to Springest's certificates API.

    It takes its connection handling and its HTTP library from the HTTP provider's asynchronous hook, and
    leaves out what would leak or double: no extra becomes a header, nothing is retried, nothing is
    redirected, and no text of the HTTP library, which holds the key, leaves it.

    :param springest_conn_id: connection of type ``springest``. Its host is a URL or a country, its password
        the API key for certificates; every other setting is an extra and has a default.
    """

    conn_name_attr = "springest_conn_id"
    default_conn_name = "springest_default"
    conn_type = "springest"
    hook_name = "Springest"

    def __init__(self, springest_conn_id: str = default_conn_name) -> None:
        super().__init__(http_conn_id=springest_conn_id)
        self.springest_conn_id = springest_conn_id

    @property
    def site_name(self) -> str:
        """Name of the site: ``default`` for ``springest_default``, ``x`` for ``springest_x``."""
        return self.springest_conn_id.removeprefix(PREFIX)

    def get_site(self) -> Site:
        """
        Return the site that the connection describes, and have its keys masked.

        :raises ConfigurationError: the connection or a field of it is missing, unknown or of the wrong kind.
        """
        connection = read_connection(self.springest_conn_id)
        site = Site.from_connection(
            name=self.site_name,
            host=connection.host,
            password=connection.password,
            schema=connection.schema,
            port=connection.port,
            extra=connection.extra_dejson,
        )
        _mask(site.secrets)
        return site

    def client(self, **settings: Any) -> SpringestClient:
        """Return an asynchronous client, to be used by ``async with``; see ``SpringestClient``."""
        return SpringestClient(self.get_site(), **settings)

    def iter_certificates(
        self,
        *,
        email: str | None = None,
        certification_id: int | None = None,
        created_from: date | None = None,
    ) -> Iterator[Certificate]:
        """
        Give the certificates that Springest shows, lazily: a page is asked for when it is needed.

        :param email: of the owner; this and the other filters are for sites that support them.
        :raises ApiError: a page could not be read.
        """
        return self._iterate(
            lambda client: client.certificates(
                email=email, certification_id=certification_id, created_from=created_from
            )
        )

    def iter_certifications(self) -> Iterator[Certification]:
        """
        Give the listed certifications, lazily.

        :raises ApiError: a page could not be read.
        """
        return self._iterate(lambda client: client.certifications())

    def post_certificate(self, upload: CertificateUpload) -> PostAnswer:
        """
        Post one certificate, once. Nothing here remembers that: the deliver operator and its ledger do.

        :raises ApiError: see its classes for what the server can have taken.
        """

        async def post() -> PostAnswer:
            async with self.client() as client:
                return await client.post_certificate(upload)

        return asyncio.run(post())

    def test_connection(self) -> tuple[bool, str]:
        """Ask one cheap question with each key, and say which key fails."""
        try:
            site = self.get_site()
        except ConfigurationError as error:
            return False, str(error)
        failures = asyncio.run(_try_keys(site))
        if failures:
            return False, "; ".join(failures)
        return True, f"{site.host} answers to both keys"

    def _iterate(self, pages_of: Callable[[SpringestClient], Pages[Row]]) -> Iterator[Row]:
        with asyncio.Runner() as runner:
            client = self.client()
            runner.run(client.__aenter__())
            try:
                pages = aiter(pages_of(client))
                while (page := runner.run(_next(pages))) is not None:
                    yield from page.items
            finally:
                runner.run(client.__aexit__(None, None, None))

    async def config(self) -> NoReturn:
        """Refuse: the HTTP provider would turn extras, which hold a key, into headers."""
        raise NotImplementedError(_INSTEAD)

    async def run(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the HTTP provider would retry, and a POST must not be."""
        raise NotImplementedError(_INSTEAD)

    def session(self, method: str | None = None) -> NoReturn:
        """Refuse: the HTTP provider's session retries and logs what holds a key."""
        raise NotImplementedError(_INSTEAD)


def _mask(keys: Iterable[str]) -> None:
    """
    Have Airflow mask the encoded forms of keys as well; the raw ones it masks by itself.

    At DEBUG, Airflow logs what it is asked to mask, so there it isn't asked. Nothing of this project relies
    on masking: what it says is redacted before.
    """
    if logging.getLogger("airflow").isEnabledFor(logging.DEBUG):
        return
    for key in keys:
        on_the_wire = URL.build(query={"k": key}).raw_query_string.removeprefix("k=")
        for form in {quote(key), quote(key, safe=""), quote_plus(key), on_the_wire} - {key}:
            mask_secret(form)


_INSTEAD = (
    "SpringestHook has no general run() or session(): use client(), iter_certificates(), "
    "iter_certifications() or post_certificate()"
)


async def _next(pages: Any) -> Any:
    return await anext(pages, None)


async def _try_keys(site: Site) -> list[str]:
    failures = []
    async with SpringestClient(site) as client:
        for what, has_key, pages in (
            ("certificates", True, client.certificates(size=1)),
            ("certifications", bool(site.certifications_api_key), client.certifications(size=1)),
        ):
            if not has_key:
                failures.append(
                    f"the extra certifications_api_key is missing: {what} need a key of their own"
                )
                continue
            try:
                await anext(aiter(pages), None)
            except ApiError as error:
                failures.append(f"the key for {what} fails: {error}")
    return failures
