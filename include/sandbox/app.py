"""Springest's three methods over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from include.sandbox import xml
from include.sandbox.connection import Dropped, Truncated
from include.sandbox.control import Control
from include.sandbox.faults import Fault, Faults, Kind
from include.sandbox.form import MalformedForm, read_form
from include.sandbox.profiles import Profile
from include.sandbox.store import NewCertificate, Store
from include.sandbox.validation import validate

HOUR = 3600.0
WEB_PAGE = "<html><head><title>Springest</title></head><body><h1>We'll be right back</h1></body></html>"


@dataclass(slots=True)
class SandboxState:
    """Everything the sandbox is.

    :param requests_per_hour: cap for each key over a sliding hour; ``None`` is none.
    :param page_max: rows that a page has at most, whatever ``size`` asks for.
    :param clock: seconds since the epoch.
    """

    store: Store
    api_key: str = field(repr=False)
    certifications_api_key: str = field(repr=False)
    profile: Profile = field(default_factory=Profile)
    faults: Faults = field(default_factory=Faults)
    requests_per_hour: int | None = 4000
    page_max: int = 100
    clock: Callable[[], float] = time.time
    granted: dict[str, deque[float]] = field(default_factory=dict)

    def key_name(self, key: str | None) -> str:
        """Tell keys apart without telling them."""
        names = {self.certifications_api_key: "certifications", self.api_key: "certificates"}
        return names.get(key or "", "none")

    def seconds_over_cap(self, key_name: str) -> float | None:
        """Count a request; return when to come back if it is one too many."""
        if self.requests_per_hour is None:
            return None
        now, taken = self.clock(), self.granted.setdefault(key_name, deque())
        while taken and taken[0] <= now - HOUR:
            taken.popleft()
        if len(taken) >= self.requests_per_hour:
            return taken[0] + HOUR - now
        taken.append(now)
        return None


Route = Callable[[Request, SandboxState, Fault | None], Awaitable[Response]]


def create_app(state: SandboxState) -> FastAPI:
    """Make the application over a state."""
    app = FastAPI(title="Springest sandbox", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.sandbox = state

    @app.post("/certificates.xml")
    @app.post("/users/certificates.xml")
    async def post_certificate(request: Request) -> Response:
        return await _noted(request, state, "certificates", _post)

    @app.get("/users/certificates.xml")
    async def get_certificates(request: Request) -> Response:
        return await _noted(request, state, "certificates", _list_certificates)

    @app.get("/certifications.xml")
    async def get_certifications(request: Request) -> Response:
        return await _noted(request, state, "certifications", _list_certifications)

    app.include_router(Control(state).routes())
    return app


async def _noted(request: Request, state: SandboxState, key_needed: str, route: Route) -> Response:
    """Answer, and keep that the request came and what became of it."""
    key_name = state.key_name(request.query_params.get("api_key"))
    answered: int | None = None
    try:
        response = await _answer(request, state, key_name, key_needed, route)
    except ClientDisconnect:
        return Dropped()
    else:
        if not isinstance(response, Dropped | Truncated):
            answered = response.status_code
        return response
    finally:
        state.store.note_request(
            method=request.method, path=request.url.path, key_name=key_name, answered=answered
        )


async def _answer(
    request: Request, state: SandboxState, key_name: str, key_needed: str, route: Route
) -> Response:
    if key_name != key_needed and not (key_name != "none" and state.api_key == state.certifications_api_key):
        return _xml(xml.errors(["Invalid API key"]), 401)
    wait = state.seconds_over_cap(key_name)
    if wait is not None:
        told = {"Retry-After": str(int(wait) + 1)} if state.profile.cap_retry_after else {}
        return _xml(xml.errors(["Rate limit exceeded"]), state.profile.cap_status, told)
    fault = state.faults.next(request.method)
    if fault is not None and fault.kind is Kind.CLOSE_BEFORE_BODY:
        return Dropped()
    response = await route(request, state, fault)
    if fault is not None and fault.kind is Kind.SLOW:
        await asyncio.sleep(fault.seconds)
    return _spoiled(response, fault)


def _spoiled(response: Response, fault: Fault | None) -> Response:
    if fault is None:
        return response
    if fault.kind is Kind.HTML:
        return Response(WEB_PAGE, status_code=response.status_code, media_type="text/html")
    if fault.kind is Kind.TRUNCATED:
        return Truncated(response.body, status_code=response.status_code, media_type="application/xml")
    return response


async def _post(request: Request, state: SandboxState, fault: Fault | None) -> Response:
    try:
        form = await read_form(request.headers.get("content-type", ""), request.stream())
    except MalformedForm as error:
        return _xml(xml.errors([str(error)]), 400)
    if fault is not None and fault.kind is Kind.STATUS:
        return _failing(fault)
    if fault is not None and fault.kind is Kind.CLOSE_BEFORE_STORING:
        return Dropped()
    certificate, errors = validate(form, state.store.certification)
    if certificate is None:
        return _xml(xml.errors(errors), state.profile.validation_status)
    return _stored(state, certificate, fault)


def _stored(state: SandboxState, certificate: NewCertificate, fault: Fault | None) -> Response:
    if fault is not None and fault.kind is Kind.STORE_LATE:
        state.store.store_later(certificate)
        return Dropped()
    stored = state.store.store(certificate)
    if fault is not None and fault.kind is Kind.CLOSE_AFTER_STORING:
        return Dropped()
    if fault is not None and fault.kind is Kind.STATUS_AFTER_STORING:
        return _failing(fault)
    if state.profile.redirects:
        return Response(status_code=302, headers={"Location": f"/users/certificates/{stored.id}"})
    return _xml(xml.created(stored, state.profile), state.profile.created_status)


async def _list_certificates(request: Request, state: SandboxState, fault: Fault | None) -> Response:
    if fault is not None and fault.kind is Kind.STATUS:
        return _failing(fault)
    if fault is not None and fault.kind is Kind.SHIFT:
        _shift(state, fault)
    size, offset = _paging(request, state)
    wanted = request.query_params
    number = wanted.get("certification_id")
    total, page = state.store.visible(
        email=wanted.get("email"),
        certification_id=int(number) if number and number.isdecimal() else None,
        created_from=wanted.get("created_from"),
        newest_first=state.profile.newest_first,
        size=size,
        offset=offset,
    )
    return _xml(xml.certificates(page, total=total, offset=offset, profile=state.profile), 200)


async def _list_certifications(request: Request, state: SandboxState, fault: Fault | None) -> Response:
    if fault is not None and fault.kind is Kind.STATUS:
        return _failing(fault)
    size, offset = _paging(request, state)
    listed = state.store.certifications(verified_only=True)
    page = listed[offset : offset + size]
    return _xml(xml.certifications(page, total=len(listed), offset=offset, profile=state.profile), 200)


def _shift(state: SandboxState, fault: Fault) -> None:
    """Let somebody else upload while the list is read."""
    verified = state.store.certifications(verified_only=True)
    for number in range(fault.count if verified else 0):
        state.store.store(
            NewCertificate(
                certification_id=verified[0].id,
                email=f"somebody.else.{number}@example.org",
                valid_from="2026-01-01",
            )
        )


def _paging(request: Request, state: SandboxState) -> tuple[int, int]:
    wanted = {name: request.query_params.get(name, "") for name in ("size", "offset")}
    told = {name: int(text) if text.isdecimal() else 0 for name, text in wanted.items()}
    return min(told["size"] or state.page_max, state.page_max), told["offset"]


def _failing(fault: Fault) -> Response:
    told = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    return _xml(xml.errors(["Something went wrong"]), fault.status, told)


def _xml(body: bytes, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status_code=status, headers=headers, media_type="application/xml; charset=utf-8")
