"""Assumptions about Springest's API that may be wrong, each with a setting for the alternative.

All of this is a guess about somebody else's server, so whole nights are tested under every profile in
``PROFILES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Zone(StrEnum):
    """Format of times."""

    OFFSET = "offset"
    UTC = "utc"
    NONE = "none"


class AnswerBody(StrEnum):
    """Body of the response to a stored certificate."""

    CERTIFICATE = "certificate"
    NO_ID = "no_id"
    EMPTY = "empty"


class EmailFilter(StrEnum):
    """Effect of the filter ``email``."""

    EXACT = "exact"
    PART = "part"
    """It matches parts of addresses."""
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Profile:
    """A possible behaviour of Springest.

    :param created_status: status of the response to a stored certificate.
    :param answer_body: body of that response.
    :param redirects: the response is a 302 after storing a certificate.
    :param validation_status: status of the response to a refused certificate.
    :param zone: how ``created-at`` is written.
    :param owner_shown: lists name the owner (``user/email``).
    :param underscores: element names have underscores instead of dashes.
    :param wrapper: lists are wrapped in ``<response>`` with ``<meta>``.
    :param cap_status: status of the response to a request beyond the hourly cap.
    :param cap_retry_after: whether that response has ``Retry-After``.
    :param unverified_listed: the list of certifications includes those that are not verified yet.
    :param newest_first: lists begin with the newest certificate.
    :param email_filter: effect of the filter ``email``.
    :param filters: lists support ``certification_id`` and ``created_from``.
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
