"""Every advisory lock of the warehouse, in one order.

A session that needs several takes them in the order of ``Lock``, so that no two sessions wait for each other.
``lock_holders.py`` names who holds a lock that somebody waits for.
"""

from __future__ import annotations

from enum import StrEnum


class Lock(StrEnum):
    """The locks, in the order in which a session takes them."""

    MIGRATE = "migrate"
    """One migration at a time."""
    SECRET = "secret"  # noqa: S105 - the name of a lock
    """Shared by everything that writes learner references; a rotation of the secret holds it alone."""
    SNAPSHOT = "snapshot"
    """One snapshot of a site at a time."""
    STAGE_RUN = "stage_run"
    """Shared by the stagings of one run: while it is held, the run is not approved for delivery."""
    ERASURE = "forget"
    """Shared by whatever writes learner references; an erasure holds it alone."""
    SITE_IDENTITY = "site_identity"
    """One check at a time of which account a site's name stands for."""
    CATALOGUE = "catalogue"
    """One list of a site's certifications at a time."""
    APPROVE = "release"
    """One approval of a site's staged runs at a time; it only tries ``STAGE_RUN`` and never waits for it."""
    STAGE = "stage"
    """One batch of a site's rows, or one person's decision, at a time."""
    SHARED_TRAININGS = "shared_trainings"
    """One check at a time of trainings that another site has as well."""
    CLAIM = "claim"
    """One claim statement of a site at a time, so that limits hold over all workers."""
    PUBLISH = "publish"
    """One reconciliation, publication or erasure of a site's verdicts at a time."""


GLOBAL = (Lock.MIGRATE, Lock.SECRET, Lock.ERASURE, Lock.SITE_IDENTITY, Lock.SHARED_TRAININGS)
"""Locks of the whole warehouse. ``STAGE_RUN`` is one per site and run, every other one per site."""


def lock_key(lock: Lock, *scope: str) -> str:
    """Return the SQL expression of a lock's key.

    :param scope: SQL expressions that narrow the lock, such as ``:site``.
    """
    narrowed = "".join(f" || ':' || CAST({expression} AS text)" for expression in scope)
    return f"hashtextextended('springest.{lock}'{narrowed}, 0)"
