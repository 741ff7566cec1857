"""All advisory locks of the warehouse, in one order.

A session that needs several locks takes them in the order of ``Lock``, which excludes deadlocks.
``lock_holders.py`` names the holders of a lock that a session waits for.
"""

from __future__ import annotations

from enum import StrEnum


class Lock(StrEnum):
    """The locks, in the order in which a session takes them."""

    MIGRATE = "migrate"
    """One migration at a time."""
    SCHEMA = "schema"
    """Held shared by processes that rely on the schema, exclusively by a migration that they can't bear."""
    SECRET = "secret"  # noqa: S105 - the name of a lock
    """Held shared by processes that write learner references, exclusively by a rotation of the secret."""
    SNAPSHOT = "snapshot"
    """One snapshot of a site at a time."""
    STAGE_RUN = "stage_run"
    """Held shared by the staging tasks of a run; while it is held, the run is not approved for delivery."""
    ERASURE = "erasure"
    """Held shared by every transaction that writes learner references, exclusively by an erasure."""
    SITE_IDENTITY = "site_identity"
    """One check at a time of the account that belongs to a site's name."""
    CATALOGUE = "catalogue"
    """One list of a site's certifications at a time."""
    APPROVE = "approve"
    """One approval of a site's staged runs at a time; it only tries ``STAGE_RUN`` and never waits for it."""
    STAGE = "stage"
    """One batch of a site's rows, or one person's decision, at a time."""
    SHARED_TRAININGS = "shared_trainings"
    """One check at a time of trainings that another site has as well."""
    CLAIM = "claim"
    """One claim statement of a site at a time, so that limits hold over all workers."""
    PUBLISH = "publish"
    """One reconciliation, publication or erasure of a site's verdicts at a time."""
    COPY = "copy"
    """One copy of a site's verdicts to another warehouse at a time; it needs no other lock."""


GLOBAL = (Lock.MIGRATE, Lock.SCHEMA, Lock.SECRET, Lock.ERASURE, Lock.SITE_IDENTITY, Lock.SHARED_TRAININGS)
"""Locks of the whole warehouse. ``STAGE_RUN`` is one per site and run, every other one per site."""


def lock_key(lock: Lock, *scope: str) -> str:
    """Return the SQL expression of a lock's key.

    :param scope: SQL expressions that narrow the lock, such as ``:site``.
    """
    narrowed = "".join(f" || ':' || CAST({expression} AS text)" for expression in scope)
    return f"hashtextextended('springest.{lock}'{narrowed}, 0)"
