"""Springest's responses, and how faults change them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from starlette.responses import Response

from sandbox import xml
from sandbox.connection import Dropped, Trickled, Truncated
from sandbox.faults import Fault, FaultBody, Kind

WEB_PAGE: Final = (
    "<!DOCTYPE html><html><head><title>Springest</title></head>"
    "<body><h1>We'll be right back</h1><p>Please reload.<br></body></html>"
)
XHTML_PAGE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?><html xmlns="http://www.w3.org/1999/xhtml">'
    "<head><title>Springest</title></head><body><h1>Sign in</h1></body></html>"
)
LOGIN_PATH: Final = "/login"
_FOREIGN: Final = {
    FaultBody.HTML: (WEB_PAGE, "text/html"),
    FaultBody.XHTML: (XHTML_PAGE, "application/xhtml+xml"),
    FaultBody.JSON: ('{"certificate": {"id": 4711}}', "application/json"),
}
_GARBAGE: Final = b"\x00\xff\xfe<errors><error>\x1b"


def answer(body: bytes, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return an XML response."""
    return Response(body, status_code=status, headers=headers, media_type="application/xml; charset=utf-8")


def refusal(messages: Iterable[str], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return a list of errors, as Rails does."""
    return answer(xml.errors(messages), status, headers)


def failing(fault: Fault, message: str = "Something went wrong") -> Response:
    """Return a response with a fault's status and body."""
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    if 300 <= fault.status < 400:
        headers["Location"] = LOGIN_PATH
    if fault.body is FaultBody.XML:
        return refusal([message], fault.status, headers)
    if fault.body in _FOREIGN:
        text, media_type = _FOREIGN[fault.body]
        return Response(text, status_code=fault.status, headers=headers, media_type=media_type)
    body = _GARBAGE if fault.body is FaultBody.GARBAGE else b""
    return answer(body, fault.status, headers)


def instead(fault: Fault | None, *, email: str, url: str) -> Response | None:
    """Return the response of a fault that replaces the normal one, if it does.

    :param url: the request's URL with its key, for a fault that includes it in the response.
    """
    if fault is None:
        return None
    if fault.kind is Kind.STATUS:
        return failing(fault)
    if fault.kind is Kind.ECHO:
        return failing(fault, f"{email} could not be handled at {url}")
    if fault.kind is Kind.CLOSE_BEFORE_STORING:
        return Dropped(reset=fault.reset)
    return None


async def spoiled(response: Response, fault: Fault | None) -> Response:
    """Return a response as changed by a fault."""
    if fault is None or isinstance(response, Dropped):
        return response
    if fault.kind is Kind.SLOW:
        await asyncio.sleep(fault.seconds)
        return response
    if fault.kind is Kind.CLOSE_AFTER_STORING:
        return Dropped(reset=fault.reset)
    if fault.kind is Kind.STATUS_AFTER_STORING:
        return failing(fault)
    return _misshapen(response, fault)


def _misshapen(response: Response, fault: Fault) -> Response:
    if fault.kind is Kind.HTML:
        return Response(WEB_PAGE, status_code=response.status_code, media_type="text/html")
    if fault.kind is Kind.TRICKLED:
        return Trickled(response, seconds=fault.seconds)
    if fault.kind is Kind.TRUNCATED:
        return Truncated(response.body, status_code=response.status_code, media_type="application/xml")
    if fault.kind is Kind.CUT_SHORT:
        return answer(bytes(response.body)[: len(response.body) // 2], response.status_code)
    return response
