"""Hook for Springest's certificates API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import date
from typing import Any, NoReturn, TypeVar

from airflow.providers.http.hooks.http import HttpAsyncHook

from springest.api.client import Pages, SpringestClient
from springest.api.models import Certificate, CertificateUpload, Certification, PostResponse
from springest.errors import ApiError, ConfigurationError
from springest.session import SiteSession, open_session
from springest.site import Site
from springest_provider.factories import read_site, warehouse_url
from springest_provider.sites import load_sites

Row = TypeVar("Row", Certificate, Certification)


class SpringestHook(HttpAsyncHook):
    """
    Call Springest's certificates API.

    Takes connection handling and the HTTP library from the HTTP provider's asynchronous hook, without the
    parts that would leak keys or send twice: no extra becomes a header, there are no retries and no
    redirects, and messages of the HTTP library, which contain the key, are never passed on.

    :param springest_conn_id: connection of type ``springest``. The host is a URL or a country, the password
        is the API key for certificates; all other settings are extras with a default.
    """

    conn_name_attr = "springest_conn_id"
    default_conn_name = "springest_default"
    conn_type = "springest"
    hook_name = "Springest"

    def __init__(self, springest_conn_id: str = default_conn_name) -> None:
        super().__init__(http_conn_id=springest_conn_id)
        self.springest_conn_id = springest_conn_id
        self._site: Site | None = None

    @property
    def site_name(self) -> str:
        """Name of the site: in the list of sites, or ``x`` for a connection ``springest_x`` outside it."""
        return load_sites().name_of(self.springest_conn_id)

    def get_site(self) -> Site:
        """
        Return the site that the connection describes, and register its keys with Airflow's masking.

        :raises ConfigurationError: the connection or one of its fields is missing, unknown or of the wrong
            type.
        """
        if self._site is not None:
            return self._site
        self._site = read_site(self.springest_conn_id)
        return self._site

    def connect(self, warehouse_conn_id: str, **settings: Any) -> AbstractAsyncContextManager[SiteSession]:
        """
        Open Springest and the warehouse together; every operator works through this.

        Requests keep the rate limit that all processes with the same key share.

        :param warehouse_conn_id: connection of the warehouse.
        :param settings: see ``springest.session.open_session``.
        """
        return open_session(warehouse_url(warehouse_conn_id), self.get_site(), **settings)

    def client(self, **settings: Any) -> SpringestClient:
        """Return an asynchronous client for use with ``async with``; see ``SpringestClient``."""
        return SpringestClient(self.get_site(), **settings)

    def iter_certificates(
        self,
        *,
        email: str | None = None,
        certification_id: int | None = None,
        created_from: date | None = None,
    ) -> Iterator[Certificate]:
        """
        Yield the certificates that Springest shows, requesting pages as needed.

        :param email: e-mail address of the owner. Use filters only for sites that support them.
        :raises ApiError: a page could not be read.
        """
        return self._iterate(
            lambda client: client.certificates(
                email=email, certification_id=certification_id, created_from=created_from
            )
        )

    def iter_certifications(self) -> Iterator[Certification]:
        """
        Yield the listed certifications, requesting pages as needed.

        :raises ApiError: a page could not be read.
        """
        return self._iterate(lambda client: client.certifications())

    def post_certificate(self, upload: CertificateUpload) -> PostResponse:
        """
        Post one certificate, without a retry.

        The hook keeps no record of it: calling it again posts it again. The deliver operator prevents that
        with the ledger.

        :raises ApiError: the subclass shows whether the server may have stored it.
        """

        async def post() -> PostResponse:
            async with self.client() as client:
                return await client.post_certificate(upload)

        return asyncio.run(post())

    def test_connection(self) -> tuple[bool, str]:
        """Make one cheap request with each key, and report the keys that fail."""
        try:
            site = self.get_site()
        except ConfigurationError as error:
            return False, str(error)
        failures = asyncio.run(_try_keys(site))
        if failures:
            return False, "; ".join(failures)
        return True, f"{site.host} accepts both keys"

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
        """Refuse: the HTTP provider would turn extras, which include a key, into headers."""
        raise NotImplementedError(_INSTEAD)

    async def run(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the HTTP provider would retry, and a POST must not be retried."""
        raise NotImplementedError(_INSTEAD)

    def session(self, method: str | None = None) -> NoReturn:
        """Refuse: the HTTP provider's session retries, and logs messages that contain a key."""
        raise NotImplementedError(_INSTEAD)


_INSTEAD = (
    "SpringestHook has no general run() or session(): use client(), iter_certificates(), "
    "iter_certifications() or post_certificate()"
)


async def _next(pages: Any) -> Any:
    return await anext(pages, None)


async def _try_keys(site: Site) -> list[str]:
    failures = []
    async with SpringestClient(site) as client:
        for purpose, has_key, pages in (
            ("certificates", True, client.certificates(size=1)),
            ("certifications", bool(site.certifications_api_key), client.certifications(size=1)),
        ):
            if not has_key:
                failures.append(f"the extra certifications_api_key is missing: {purpose} need a separate key")
                continue
            try:
                await anext(aiter(pages), None)
            except ApiError as error:
                failures.append(f"the key for {purpose} fails: {error}")
    return failures
