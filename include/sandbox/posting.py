"""POST: read a certificate as it streams in, check it, store it and respond."""

from __future__ import annotations

from starlette.responses import Response

from sandbox import xml
from sandbox.answers import answer, failing, instead, refusal
from sandbox.connection import Dropped
from sandbox.faults import Kind
from sandbox.form import Form, MalformedForm, read_form
from sandbox.readers import whole_number
from sandbox.request import Exchange
from sandbox.store import NewCertificate, StoredCertificate
from sandbox.validation import validate


async def post_certificate(exchange: Exchange) -> Response:
    """Store a certificate, or return all its errors."""
    request, state = exchange.request, exchange.state
    content_type = request.headers.get("content-type", "")
    try:
        form = await read_form(content_type, request.stream(), keep_in=state.keep_files)
    except MalformedForm as error:
        return refusal([str(error)], 400)
    exchange.document = form.sha256 or None
    email = form.values.get("email", "")
    exchange.meet_with_fields(whole_number(form.values.get("certification_id")), email)
    failed = instead(exchange.fault, email=email, url=str(request.url))
    return _judged(exchange, form) if failed is None else failed


def _judged(exchange: Exchange, form: Form) -> Response:
    state = exchange.state
    certificate, errors = validate(form, state.store.certification)
    if certificate is None:
        return refusal(errors, state.profile.validation_status)
    late = _stored_late(exchange, certificate)
    return _taken(exchange, state.store.store(certificate)) if late is None else late


def _stored_late(exchange: Exchange, certificate: NewCertificate) -> Response | None:
    fault = exchange.fault
    if fault is None or fault.kind not in {Kind.STORE_LATE, Kind.STATUS_THEN_STORED}:
        return None
    exchange.state.store.store_later(certificate, after=fault.seconds or None)
    return failing(fault) if fault.kind is Kind.STATUS_THEN_STORED else Dropped(reset=fault.reset)


def _taken(exchange: Exchange, stored: StoredCertificate) -> Response:
    profile = exchange.state.profile
    if profile.redirects:
        return Response(status_code=302, headers={"Location": f"/users/certificates/{stored.id}"})
    return answer(xml.created(stored, profile), profile.created_status)
