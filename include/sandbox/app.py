"""Springest's three methods over HTTP; every request is counted, checked and recorded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from sandbox import listing, posting
from sandbox.answers import refusal, spoiled
from sandbox.connection import Dropped, Truncated
from sandbox.control import Control
from sandbox.faults import Kind
from sandbox.request import BadParameter, Exchange
from sandbox.state import SandboxState

log = logging.getLogger(__name__)

Route = Callable[[Exchange], Awaitable[Response]]
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


@dataclass(frozen=True, slots=True)
class _Method:
    """One of Springest's methods, and the key that it needs."""

    route: Route
    key_needed: str


_SPRINGEST: Final = {
    ("POST", "/certificates.xml"): _Method(posting.post_certificate, "certificates"),
    ("POST", "/users/certificates.xml"): _Method(posting.post_certificate, "certificates"),
    ("GET", "/users/certificates.xml"): _Method(listing.list_certificates, "certificates"),
    ("GET", "/certifications.xml"): _Method(listing.list_certifications, "certifications"),
}


def create_app(state: SandboxState) -> FastAPI:
    """Create the application for a state."""
    app = FastAPI(title="Springest sandbox", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.sandbox = state
    app.include_router(Control(state).routes())

    async def springest(request: Request) -> Response:
        return await _noted(request, state)

    # One route for all paths, so that requests for unknown paths are recorded as well.
    app.router.add_route("/{path:path}", springest, methods=_METHODS, include_in_schema=False)
    return app


async def _noted(request: Request, state: SandboxState) -> Response:
    """Respond, and record the request and its response."""
    key_name = state.key_name(request.query_params.get("api_key"))
    exchange, answered = Exchange(request, state), None
    try:
        response = await _answer(exchange, key_name)
    except ClientDisconnect:
        return Dropped()
    else:
        if not isinstance(response, Dropped | Truncated):
            answered = response.status_code
        return response
    finally:
        method, path = request.method, request.url.path
        # The path only: the query contains the key, and may contain an e-mail address.
        log.info("%s %s: %s", method, path, answered or "no whole answer")
        state.store.note_request(
            method=method, path=path, key_name=key_name, answered=answered, sha256=exchange.document
        )


async def _answer(exchange: Exchange, key_name: str) -> Response:
    request, state = exchange.request, exchange.state
    method = _SPRINGEST.get((request.method, request.url.path))
    if method is None:
        return refusal(["Not found"], 404)
    if not state.opens(key_name, method.key_needed):
        return refusal(["Invalid API key"], 401)
    wait = state.seconds_over_cap(key_name)
    if wait is not None:
        headers = {"Retry-After": str(int(wait) + 1)} if state.profile.cap_retry_after else {}
        return refusal(["Rate limit exceeded"], state.profile.cap_status, headers)
    exchange.meet_at_head()
    dropped = await _faulty(exchange)
    return await _routed(exchange, method.route) if dropped is None else dropped


async def _faulty(exchange: Exchange) -> Response | None:
    """Apply the faults that occur before a request is read."""
    fault = exchange.fault
    if fault is None:
        return None
    if fault.kind is Kind.CLOSE_MIDWAY:
        await exchange.read_some()
    if fault.kind in {Kind.CLOSE_BEFORE_BODY, Kind.CLOSE_MIDWAY}:
        return Dropped(reset=fault.reset)
    if fault.kind is Kind.SLOW_TO_READ:
        await asyncio.sleep(fault.seconds)
    return None


async def _routed(exchange: Exchange, route: Route) -> Response:
    try:
        response = await route(exchange)
    except BadParameter as error:
        return refusal([str(error)], 400)
    return await spoiled(response, exchange.fault)
