"""Writes XML as Rails' ``to_xml`` does: dashes, ``type`` attributes, ``nil="true"``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime

from lxml import etree

from sandbox.profiles import AnswerBody, Profile, Zone
from sandbox.store import Certification, StoredCertificate

_UNWRITABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 (section 2.2) does not allow, but that a message may repeat."""
Value = int | bool | str | date | datetime | None


def certificates(page: Sequence[StoredCertificate], *, total: int, offset: int, profile: Profile) -> bytes:
    """Write a page of certificates."""
    return _list("certificates", (_certificate(row, profile) for row in page), total, offset, profile)


def certifications(page: Sequence[Certification], *, total: int, offset: int, profile: Profile) -> bytes:
    """Write a page of certifications."""
    rows = (_certification(row, profile) for row in page)
    return _list("certifications", rows, total, offset, profile)


def created(certificate: StoredCertificate, profile: Profile) -> bytes:
    """Write the response to a stored certificate."""
    if profile.answer_body is AnswerBody.EMPTY:
        return b""
    row = _certificate(certificate, profile)
    if profile.answer_body is AnswerBody.NO_ID:
        row.remove(row[0])
    return _text(row)


def errors(messages: Iterable[str]) -> bytes:
    """Write errors."""
    root = etree.Element("errors")
    for message in messages:
        etree.SubElement(root, "error").text = _UNWRITABLE.sub("?", message)
    return _text(root)


def _list(name: str, rows: Iterable[etree._Element], total: int, offset: int, profile: Profile) -> bytes:
    listed = etree.Element(name, type="array")
    listed.extend(rows)
    if not profile.wrapper:
        return _text(listed)
    root = etree.Element("response")
    meta = etree.SubElement(root, "meta")
    _add(meta, "results", total, profile)
    _add(meta, "offset", offset, profile)
    root.append(listed)
    return _text(root)


def _certificate(stored_certificate: StoredCertificate, profile: Profile) -> etree._Element:
    row = etree.Element("certificate")
    _add(row, "id", stored_certificate.id, profile)
    _add(row, "certification-id", stored_certificate.certification_id, profile)
    _add(row, "valid-from", date.fromisoformat(stored_certificate.valid_from), profile)
    _add(
        row,
        "valid-until",
        date.fromisoformat(stored_certificate.valid_until) if stored_certificate.valid_until else None,
        profile,
        "date",
    )
    _add(row, "status", stored_certificate.status, profile)
    _add(row, "created-at", datetime.fromisoformat(stored_certificate.created_at), profile)
    if profile.owner_shown:
        user = etree.SubElement(row, "user")
        _add(user, "email", stored_certificate.email, profile)
        _add(user, "external-id", None, profile)
    return row


def _certification(certification: Certification, profile: Profile) -> etree._Element:
    row = etree.Element("certification")
    _add(row, "id", certification.id, profile)
    _add(row, "name", certification.name, profile)
    _add(row, "description", certification.description or None, profile)
    _add(row, "requires-valid-until", certification.requires_valid_until, profile)
    return row


def _add(parent: etree._Element, name: str, value: Value, profile: Profile, kind: str | None = None) -> None:
    element = etree.SubElement(parent, name.replace("-", "_") if profile.underscores else name)
    kind = kind or _kind(value)
    if kind:
        element.set("type", kind)
    if value is None:
        element.set("nil", "true")
    else:
        element.text = _UNWRITABLE.sub("?", _written(value, profile))


def _kind(value: Value) -> str | None:
    kinds: dict[type, str] = {bool: "boolean", int: "integer", datetime: "datetime", date: "date"}
    return kinds.get(type(value))


def _written(value: Value, profile: Profile) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, datetime):
        return str(value)
    plain = value.replace(tzinfo=None).isoformat(timespec="seconds")
    return {
        Zone.OFFSET: f"{plain}+00:00",
        Zone.UTC: f"{plain.replace('T', ' ')} UTC",
        Zone.NONE: plain,
    }[profile.zone]


def _text(root: etree._Element) -> bytes:
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
