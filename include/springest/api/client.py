"""The HTTP client for Springest: reads lists page by page, posts a certificate once, and classifies failures.

It retries nothing, follows no redirect and ignores the environment's proxies and netrc. The key is a query
parameter, so no error of the HTTP library leaves this module: its text contains the whole URL.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import date
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import aiohttp
from yarl import URL

from springest.api.body import CertificateBody
from springest.api.models import (
    Certificate,
    CertificateUpload,
    Certification,
    Page,
    PostResponse,
    SendHooks,
)
from springest.api.multipart import encode
from springest.api.paging import Evidence, Pager
from springest.api.responses import Response, Stored, meaning_of
from springest.api.values import NotUnderstood
from springest.api.xml import (
    CERTIFICATES,
    CERTIFICATIONS,
    MAX_BODY_BYTES,
    RowKind,
    max_page_bytes,
    parse_page,
)
from springest.errors import (
    ApiError,
    ConnectFailed,
    InvalidResponse,
    RequestNotSent,
    ResponseLost,
    ResponseTimeout,
)
from springest.redaction import Redactor
from springest.site import Site

log = logging.getLogger(__name__)
T = TypeVar("T", bound="Certificate | Certification")

CERTIFICATES_PATH: Final = "/users/certificates.xml"
CERTIFICATIONS_PATH: Final = "/certifications.xml"
PACKAGE: Final = "airflow-provider-springest"
IDLE_SECONDS: Final = 0.1
"""Idle connections are not reused after this, so that no POST is sent on a stale one (ADR 3)."""
READ_BYTES: Final = 64 * 1024

Gate = Callable[[str], Awaitable[None]]
"""Awaited with the method before each GET, to apply a rate limit."""


class SpringestClient:
    """One site's API over one pool of connections; an asynchronous context manager.

    :param site: the site's URL, keys and settings.
    :param max_connections: maximum number of connections.
    :param gate: awaited before each GET; the caller of a POST obtains its grant.
    """

    def __init__(self, site: Site, *, max_connections: int = 8, gate: Gate | None = None) -> None:
        self._site = site
        self._gate = gate
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None
        self._redactor = Redactor(site.secrets)
        self._post_url = self._url(site.post_path, site.api_key, {})

    async def __aenter__(self) -> Self:
        timeouts = self._site.timeouts
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._max_connections, keepalive_timeout=IDLE_SECONDS, ssl=True
            ),
            timeout=aiohttp.ClientTimeout(
                total=timeouts.total,
                connect=timeouts.connect,
                sock_connect=timeouts.connect,
                sock_read=timeouts.read,
            ),
            headers={"User-Agent": _user_agent(), "Accept": "application/xml"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def certificates(
        self,
        *,
        email: str | None = None,
        certification_id: int | None = None,
        created_from: date | None = None,
        size: int | None = None,
    ) -> Pages[Certificate]:
        """Return the certificates that Springest shows, lazily, page by page.

        Only those whose certification is verified are shown. The filters are for sites that support them
        (newer documentation).

        :param size: rows per page; the site's ``page_size`` by default.
        """
        filters = {
            "email": email,
            "certification_id": certification_id,
            "created_from": created_from.isoformat() if created_from else None,
        }
        return Pages(
            self, CERTIFICATES_PATH, CERTIFICATES, self._site.api_key, filters, size or self._site.page_size
        )

    def certifications(self, *, size: int | None = None) -> Pages[Certification]:
        """Return the listed certifications, lazily, page by page. They need a separate key."""
        api_key = self._site.certifications_api_key
        return Pages(self, CERTIFICATIONS_PATH, CERTIFICATIONS, api_key, {}, size or self._site.page_size)

    async def post_certificate(
        self, upload: CertificateUpload, *, hooks: SendHooks | None = None
    ) -> PostResponse:
        """Post one certificate, once.

        :param hooks: called before the first and the last bytes of the body; its exception withholds them
            and is raised.
        :raises ConnectFailed, RequestNotSent: the server cannot have stored it.
        :raises ResponseTimeout, ResponseLost, InvalidResponse: the server may have stored it.
        :raises StatusError: the response has another status; see the classes.
        """
        encoded = encode(upload, booking_field=self._site.booking_field)
        body = CertificateBody(encoded, upload.document, hooks=hooks)
        path = self._site.post_path
        failure: BaseException
        try:
            async with self._http.post(
                self._post_url,
                data=body,
                headers={"Content-Type": encoded.content_type},
                allow_redirects=False,
            ) as response:
                read = await _read(response)
                meaning = meaning_of(
                    read, method="POST", path=path, redactor=self._redactor, sent=_sent_texts(upload)
                )
                if isinstance(meaning, Stored):
                    return PostResponse(read.status, meaning.certificate_id, body.bytes_sent)
                meaning.bytes_handed_over = body.bytes_sent
                failure = meaning
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            failure = self._post_error(error, body)
        raise failure

    def _post_error(self, error: BaseException, body: CertificateBody) -> BaseException:
        """Return the error of a POST without a complete response; errors of document or hooks come first."""
        # aiohttp cancels writing if the response arrives first; that is not a cancellation of this task.
        unrelated = aiohttp.ClientError | OSError | asyncio.CancelledError
        if body.error is not None and not isinstance(body.error, unrelated):
            return body.error
        transport_error = self._transport_error("POST", self._site.post_path, error, is_sent=body.handed_over)
        transport_error.bytes_handed_over = body.bytes_sent
        return transport_error

    async def read_page(
        self, path: str, kind: RowKind[T], api_key: str, query: dict[str, str], *, rows: int
    ) -> Page[T]:
        """Read one page of a list.

        :param query: filters, and the ``size`` and ``offset`` of the page.
        :param rows: number of requested rows.
        :raises ApiError: it could not be read; see the classes.
        """
        if self._gate is not None:
            await self._gate("GET")
        failure: ApiError
        try:
            async with self._http.get(self._url(path, api_key, query), allow_redirects=False) as response:
                if response.status == 200:
                    body = await _read_up_to(response, max_page_bytes(rows))
                    return parse_page(body, kind, rows=rows)
                failure = self._error_in_response(await _read(response), path, query)
        except NotUnderstood as error:
            failure = InvalidResponse(
                method="GET", path=path, status=200, detail=f"the response can't be read: {error}"
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = self._transport_error("GET", path, error, is_sent=True)
        raise failure

    def _transport_error(self, method: str, path: str, error: BaseException, *, is_sent: bool) -> ApiError:
        """Return the error of a request without a complete response.

        :param is_sent: whether the last byte of the request was sent.
        """
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            kind: type[ApiError] = ConnectFailed
        elif not is_sent:
            kind = RequestNotSent
        else:
            kind = ResponseTimeout if isinstance(error, TimeoutError) else ResponseLost
        return kind(method=method, path=path, detail=self._describe(error))

    def _error_in_response(self, response: Response, path: str, query: dict[str, str]) -> ApiError:
        sent = [query["email"]] if "email" in query else []
        meaning = meaning_of(response, method="GET", path=path, redactor=self._redactor, sent=sent)
        if isinstance(meaning, Stored):  # a 201 is not a valid response to a GET
            return InvalidResponse(
                method="GET", path=path, status=response.status, detail=f"{response.status}: it is not a list"
            )
        return meaning

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client is used outside its `async with`")
        return self._session

    def _url(self, path: str, api_key: str, query: dict[str, str]) -> URL:
        return URL(self._site.base_url + path).update_query({**query, "api_key": api_key})

    def _describe(self, error: BaseException) -> str:
        """Describe an error by its class, since a library's text may contain the URL with the key."""
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
            return f"no secure connection to {self._site.host} (TLS): {type(error).__name__}"
        if isinstance(error, aiohttp.ClientConnectorError):
            reason = error.os_error.strerror or type(error.os_error).__name__
            return f"no connection to {self._site.host}: {self._redactor.redact(str(reason))}"
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return f"no connection to {self._site.host} within {self._site.timeouts.connect:g} s"
        if isinstance(error, TimeoutError):
            return f"no complete response from {self._site.host} in time"
        return f"the connection to {self._site.host} broke ({type(error).__name__})"


class Pages(Generic[T]):
    """The pages of one list: iterate once, asynchronously; each page contains only new rows.

    ``evidence`` then shows whether the list was read in full.

    :param filters: query parameters by name; ``None`` omits one.
    :param size: rows per page.
    """

    def __init__(
        self,
        client: SpringestClient,
        path: str,
        kind: RowKind[T],
        api_key: str,
        filters: dict[str, Any],
        size: int,
    ) -> None:
        self._client = client
        self._path = path
        self._kind = kind
        self._api_key = api_key
        self._filters = {name: str(value) for name, value in filters.items() if value is not None}
        self._pager = Pager(size)

    @property
    def evidence(self) -> Evidence:
        """How completely the list was read so far."""
        return self._pager.evidence

    async def __aiter__(self) -> AsyncGenerator[Page[T], None]:
        while (wanted := self._pager.next) is not None:
            query = {**self._filters, "size": str(wanted.size), "offset": str(wanted.offset)}
            page = await self._client.read_page(
                self._path, self._kind, self._api_key, query, rows=wanted.size
            )
            for row_number, row_id in enumerate(page.ids, start=wanted.offset + 1):
                if row_id < 0:
                    log.warning(
                        "%s: row %d has no usable id and is skipped; until Springest fixes it, the list is "
                        "incomplete, and no certificate counts as missing",
                        self._path,
                        row_number,
                    )
            new = self._pager.accept(page.ids, total=page.total)
            if new:
                yield Page(tuple(row for row in page.items if row.id in new), page.total, page.offset)


@cache
def _user_agent() -> str:
    try:
        return f"{PACKAGE}/{version(PACKAGE)}"
    except PackageNotFoundError:  # run from its folder without installation
        return PACKAGE


def _sent_texts(upload: CertificateUpload) -> list[str]:
    """Return private texts that a response may repeat: address and document name, whole and in part."""
    name = upload.document.filename
    stem = name.rpartition(".")[0]
    return [upload.email, upload.email.partition("@")[0], name, stem]


async def _read(response: aiohttp.ClientResponse) -> Response:
    """Read a response. The status of a response that is not a 2xx counts even if its body is truncated.

    :raises aiohttp.ClientError, TimeoutError, OSError: the body of a 2xx is truncated.
    """
    try:
        body: bytes | None = await _read_up_to(response, MAX_BODY_BYTES)
    except (aiohttp.ClientError, TimeoutError, OSError):
        if 200 <= response.status < 300:
            raise
        body = None
    return Response(response.status, response.headers, response.headers.get("Content-Type", "").lower(), body)


async def _read_up_to(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read a body up to slightly more than ``max_bytes``; a longer result means that it is incomplete."""
    kept = bytearray()
    async for chunk in response.content.iter_chunked(READ_BYTES):
        kept += chunk
        if len(kept) > max_bytes:
            response.close()
            break
    return bytes(kept)
