"""The assumptions about Springest's API that may turn out false, each with a way to make it so.

Everything here is a guess about a server that is not ours: the project's whole flow is tested under every
profile in ``PROFILES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Zone(StrEnum):
    """How moments are written."""

    OFFSET = "offset"
    UTC = "utc"
    NONE = "none"


class AnswerBody(StrEnum):
    """What the answer to a stored certificate holds."""

    CERTIFICATE = "certificate"
    NO_ID = "no_id"
    EMPTY = "empty"


class EmailFilter(StrEnum):
    """What a list does with ``email``."""

    EXACT = "exact"
    PART = "part"
    """Takes a part of an address for the whole."""
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Profile:
    """One way that Springest may behave.

    :param created_status: status that answers a stored certificate.
    :param answer_body: body of that answer.
    :param redirects: answers 302 after it stored a certificate.
    :param validation_status: status that refuses a certificate.
    :param zone: how ``created-at`` is written.
    :param owner_shown: lists name the owner (``user/email``).
    :param underscores: element names have underscores instead of dashes.
    :param wrapper: lists are wrapped in ``<response>`` with ``<meta>``.
    :param cap_status: status that answers a request beyond the hourly cap.
    :param cap_retry_after: whether that answer says when to come back.
    :param unverified_listed: the list of certifications holds those that are not verified yet as well.
    :param newest_first: lists begin with the newest certificate.
    :param email_filter: what a list does with ``email``.
    :param filters: lists keep to ``certification_id`` and ``created_from``.
    """

    created_status: int = 201
    answer_body: AnswerBody = AnswerBody.CERTIFICATE
    redirects: bool = False
    validation_status: int = 400
    zone: Zone = Zone.OFFSET
    owner_shown: bool = False
    underscores: bool = False
    wrapper: bool = True
    cap_status: int = 429
    cap_retry_after: bool = True
    unverified_listed: bool = False
    newest_first: bool = False
    email_filter: EmailFilter = EmailFilter.EXACT
    filters: bool = True


PROFILES: Final[dict[str, Profile]] = {
    "documented": Profile(),
    "no_id": Profile(answer_body=AnswerBody.NO_ID),
    "empty_201": Profile(answer_body=AnswerBody.EMPTY),
    "status_200": Profile(created_status=200),
    "redirect_302": Profile(redirects=True),
    "validation_422": Profile(validation_status=422),
    "no_zone": Profile(zone=Zone.NONE),
    "owner_shown": Profile(owner_shown=True),
    "underscores": Profile(underscores=True, zone=Zone.UTC),
    "no_wrapper": Profile(wrapper=False),
    "unverified_listed": Profile(unverified_listed=True),
    "newest_first": Profile(newest_first=True),
    "no_filters": Profile(email_filter=EmailFilter.IGNORED, filters=False),
    "email_by_part": Profile(email_filter=EmailFilter.PART),
    "cap_403": Profile(cap_status=403, cap_retry_after=False),
    "cap_429_silent": Profile(cap_retry_after=False),
}
