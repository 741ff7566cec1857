"""Springest's checks before it stores a certificate; all errors are reported, as Rails does."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date

from sandbox.form import Form
from sandbox.readers import iso_day, whole_number
from sandbox.store import Certification, NewCertificate

BOOKING_FIELDS = ("booking_id", "conversion_id")
_ADDRESS = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+\.[^@\s\x00-\x1f\x7f]+")


def validate(
    form: Form, find_certification: Callable[[int], Certification | None]
) -> tuple[NewCertificate | None, list[str]]:
    """Check a form.

    :returns: the certificate, or its errors.
    """
    errors: list[str] = []
    certification_id = _whole(form, "certification_id", errors, required=True)
    booking_field = next((name for name in BOOKING_FIELDS if name in form.values), BOOKING_FIELDS[0])
    booking_id = _whole(form, booking_field, errors, required=False)
    email = form.values.get("email", "").strip()
    if not email:
        errors.append("Email can't be blank")
    elif not _ADDRESS.fullmatch(email):
        errors.append(f"Email {email} is invalid")
    valid_from = _day(form, "valid_from", errors, required=True)
    valid_until = _day(form, "valid_until", errors, required=False)
    certification = find_certification(certification_id) if certification_id is not None else None
    if certification_id is not None and certification is None:
        errors.append("Certification must exist")
    if certification and certification.requires_valid_until and not form.values.get("valid_until"):
        errors.append("Valid until can't be blank")
    if valid_from and valid_until and valid_until < valid_from:
        errors.append("Valid until must be after valid from")
    errors += _about_file(form)
    if errors or certification_id is None or valid_from is None:
        return None, errors
    return (
        NewCertificate(
            certification_id=certification_id,
            email=email,
            valid_from=valid_from.isoformat(),
            valid_until=valid_until.isoformat() if valid_until else None,
            booking_id=booking_id,
            file_name=form.file_name or "",
            content_type=form.content_type,
            size=form.size,
            sha256=form.sha256,
            fields=",".join(form.order),
        ),
        [],
    )


def _about_file(form: Form) -> list[str]:
    if not form.has_file:
        return ["File can't be blank"]
    if form.size == 0:
        return ["File is empty"]
    return ["File must not be Base64"] if form.is_base64 else []


def _whole(form: Form, name: str, errors: list[str], *, required: bool) -> int | None:
    text = form.values.get(name, "")
    value = whole_number(text)
    if text and value is None:
        errors.append(f"{_label(name)} is not a number")
    elif required and value is None:
        errors.append(f"{_label(name)} can't be blank")
    return value


def _day(form: Form, name: str, errors: list[str], *, required: bool) -> date | None:
    text = form.values.get(name, "")
    value = iso_day(text)
    if text and value is None:
        errors.append(f"{_label(name)} is not a date")
    elif required and value is None:
        errors.append(f"{_label(name)} can't be blank")
    return value


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()
