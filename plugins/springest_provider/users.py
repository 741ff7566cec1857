"""Names of Airflow's users, as decisions record them: no table holds an e-mail address."""

from __future__ import annotations

from springest.review.audit_text import decider
from springest_provider import factories


def short_name(name: str) -> str:
    """Return a user's name, without the domain if it is an e-mail address."""
    return name.partition("@")[0].strip()


def recorded_name(user_id: str, name: str, given: str = "") -> str:
    """
    Return the name to record with a decision of a user.

    Users whose e-mail addresses differ only in the domain stay distinct: the auth manager's identifier is
    added, or its HMAC if that is an e-mail address as well.

    :param user_id: the auth manager's identifier.
    :param name: the user's name in Airflow.
    :param given: the person's name, needed if several people share the user.
    :raises DecisionRefused: several people share it, and no person is named.
    :raises ConfigurationError: there is no learner secret to make an HMAC with.
    """
    name = name or user_id
    short = short_name(name)
    recorded = decider(short, given)
    if "@" not in name or recorded != short:
        return recorded
    reference = factories.pseudonyms().user_ref(user_id) if "@" in user_id else user_id
    return f"{short} (user {reference})"
