"""GET: lists of certificates and of certifications, page by page."""

from __future__ import annotations

from starlette.responses import Response

from sandbox import xml
from sandbox.answers import answer, instead
from sandbox.faults import Fault, Kind
from sandbox.profiles import EmailFilter
from sandbox.request import Exchange
from sandbox.state import SandboxState
from sandbox.store import NewCertificate


async def list_certificates(exchange: Exchange) -> Response:
    """Return a page of the certificates whose certification is verified."""
    state, fault = exchange.state, exchange.fault
    email = exchange.request.query_params.get("email")
    failed = instead(fault, email=email or "", url=str(exchange.request.url))
    if failed is not None:
        return failed
    if fault is not None:
        _meddle(state, fault)
    size, offset = exchange.paging()
    filters = state.profile.filters
    created_from = exchange.day("created_from") if filters else None
    total, page = state.store.visible(
        email=None if state.profile.email_filter is EmailFilter.IGNORED else email,
        email_is_part=state.profile.email_filter is EmailFilter.PART,
        certification_id=exchange.number("certification_id") if filters else None,
        created_from=created_from.isoformat() if created_from else None,
        newest_first=state.profile.newest_first,
        size=size,
        offset=offset,
    )
    total += _made_up(fault)
    return answer(xml.certificates(page, total=total, offset=offset, profile=state.profile), 200)


async def list_certifications(exchange: Exchange) -> Response:
    """Return a page of the certifications: those that are verified, or all."""
    state, fault = exchange.state, exchange.fault
    failed = instead(fault, email="", url=str(exchange.request.url))
    if failed is not None:
        return failed
    size, offset = exchange.paging()
    listed = state.store.certifications(verified_only=not state.profile.unverified_listed)
    page = listed[offset : offset + size]
    total = len(listed) + _made_up(fault)
    return answer(xml.certifications(page, total=total, offset=offset, profile=state.profile), 200)


def _made_up(fault: Fault | None) -> int:
    return fault.count if fault is not None and fault.kind is Kind.WRONG_TOTAL else 0


def _meddle(state: SandboxState, fault: Fault) -> None:
    """Add or remove certificates of others while the list is read."""
    store, newest_first = state.store, state.profile.newest_first
    if fault.kind is Kind.REMOVE:
        _, first = store.visible(newest_first=newest_first, size=fault.count, offset=0)
        for row in first:
            store.remove_certificate(row.id)
    if fault.kind not in {Kind.SHIFT, Kind.SHIFT_FRONT}:
        return
    verified = store.certifications(verified_only=True)
    for number in range(fault.count if verified else 0):
        certificate = NewCertificate(
            certification_id=verified[0].id,
            email=f"somebody.else.{number}@example.org",
            valid_from="2026-01-01",
        )
        store.store(certificate, lowest_id=fault.kind is Kind.SHIFT_FRONT and not newest_first)
