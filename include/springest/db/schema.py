"""The warehouse schema ``springest``: ledger, snapshots and what analysts read.

Every table and column has a comment, which PostgreSQL stores and the data dictionary is generated from. No
table contains a learner's e-mail address, a key or a document's name: ``learner_ref`` is an HMAC, and the
address is read from the source at the moment of sending.

The tables are defined here once. ``make baseline`` and ``make revision`` write the migrations from these
definitions (see CONTRIBUTING.md); a test compares both.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from springest.db.statements import quoted
from springest.states import RECHECKED, DecisionKind, State
from springest.verification import PROOFS, WEAKER, MatchMethod

SCHEMA: Final = "springest"
VERSION_TABLE: Final = "schema_version"
"""Alembic's version table; Airflow has one called ``alembic_version`` in its own database."""

metadata: Final = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
    },
)

_INSTANT = DateTime(timezone=True)
_HASH = String(64)
_NOW = text("clock_timestamp()")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({quoted(values)})"


def _delivery(comment: str, **options: Any) -> Column[Any]:
    """Return the column by which a table refers to a delivery."""
    return Column("delivery_id", BigInteger, ForeignKey("delivery.delivery_id"), comment=comment, **options)


certification = Table(
    "certification",
    metadata,
    Column("site", Text, primary_key=True, comment="Name of the Springest site"),
    Column("certification_id", BigInteger, primary_key=True, comment="Springest's id", autoincrement=False),
    Column("name", Text, comment="Name at Springest, as last listed"),
    Column("description", Text, comment="Description at Springest, as last listed"),
    Column(
        "requires_valid_until", Boolean, comment="Whether a certificate needs valid_until; null: not reported"
    ),
    Column(
        "is_listed",
        Boolean,
        nullable=False,
        comment="Whether the last complete catalogue has it. That it is verified follows only if the site's "
        "setting says so",
    ),
    Column("first_seen_at", _INSTANT, nullable=False, comment="When a catalogue first listed it"),
    Column("last_seen_at", _INSTANT, nullable=False, comment="When a catalogue last listed it"),
    Column("listed_since", _INSTANT, comment="Start of the current uninterrupted listing; null: not listed"),
    CheckConstraint("is_listed = (listed_since IS NOT NULL)", name="listed_since"),
    comment="One row per certification that a catalogue has listed",
)

catalogue_scan = Table(
    "catalogue_scan",
    metadata,
    Column("scan_id", BigInteger, Identity(), primary_key=True, comment="Number of the scan"),
    Column("site", Text, nullable=False, comment="Name of the Springest site"),
    Column("run_id", Text, nullable=False, comment="Airflow run that read it"),
    Column("scanned_at", _INSTANT, nullable=False, server_default=_NOW, comment="When it was stored"),
    Column("listed", Integer, nullable=False, comment="Certifications listed"),
    Column(
        "complete",
        Boolean,
        nullable=False,
        comment="Whether the whole list was read; only then does absence count",
    ),
    Index(None, "site", "scanned_at"),
    comment="One row per reading of the list of certifications",
)

delivery = Table(
    "delivery",
    metadata,
    Column(
        "delivery_id",
        BigInteger,
        Identity(),
        primary_key=True,
        comment="Number of the delivery, by which the tables of this schema refer to it",
    ),
    Column(
        "delivery_key",
        _HASH,
        nullable=False,
        unique=True,
        comment="sha256 of site, training_id and issue_no: the business key, which people and links use",
    ),
    Column("site", Text, nullable=False, comment="Name of the Springest site it is for"),
    Column("training_id", Text, nullable=False, comment="Completed training in the source"),
    Column(
        "issue_no",
        Integer,
        nullable=False,
        comment="Issue of the certificate: 1, or higher if it was issued again",
    ),
    Column("learner_ref", _HASH, comment="HMAC of the learner's normalised e-mail address"),
    Column("certification_id", BigInteger, comment="Springest's id of the certification"),
    Column("booking_id", BigInteger, comment="Springest's id of the booking, if any"),
    Column("valid_from", Date, comment="First day of validity"),
    Column("valid_until", Date, comment="Last day of validity; null: unlimited"),
    Column("completed_at", _INSTANT, comment="When the training was completed"),
    Column(
        "source",
        Text,
        comment="Name of the source it came from, or the names of all that have its training_id",
    ),
    Column("source_updated_at", _INSTANT, comment="When the source last changed the row"),
    Column(
        "row_version",
        _HASH,
        nullable=False,
        comment="HMAC of the whole source row; differs when the row changes",
    ),
    Column("document_ref", _HASH, comment="HMAC of the document's URI in the source"),
    Column(
        "catalogue_ref", Text, comment="The catalogue's entry for the certification when the row was checked"
    ),
    Column(
        "document_checked",
        Text,
        comment="Type and sha256 of the last document that passed the checks; see ADR 20",
    ),
    Column("staged_run_id", Text, nullable=False, comment="Airflow run that last staged it"),
    Column("created_at", _INSTANT, nullable=False, server_default=_NOW, comment="When it was first staged"),
    Column(
        "duplicate_released",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Whether a person released it although another training has the same certificate",
    ),
    # What sending and matching change comes last: PostgreSQL logs an updated row from its first change on.
    Column("document_sha256", _HASH, comment="sha256 of the document that was last sent"),
    Column("document_size", BigInteger, comment="Size of that document in bytes"),
    Column("springest_certificate_id", BigInteger, comment="Springest's id, from its response or by proof"),
    Column("sent_at", _INSTANT, comment="Start of the last attempt that Springest may have stored"),
    Column(
        "needs_review",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Whether a person should look at it",
    ),
    Column("review_reason", Text, comment="Reason for the review; see docs/states.md"),
    Column("lease_owner", Text, comment="Worker that is sending it"),
    Column(
        "lease_until", _INSTANT, comment="End of the lease: until then, that worker may record the outcome"
    ),
    Column(
        "match_method", Text, comment="Basis of the match: springest_id, owner or person; null: not matched"
    ),
    Column("state", Text, nullable=False, comment="State of the delivery; see docs/states.md"),
    Column("reason", Text, comment="Reason for the state, as a fixed word; see docs/states.md"),
    Column("reason_detail", Text, comment="Reason for the state and the remedy, as a sentence; redacted"),
    Column(
        "version",
        Integer,
        nullable=False,
        server_default="1",
        comment="Version of the row, for compare-and-set",
    ),
    Column("updated_at", _INSTANT, nullable=False, server_default=_NOW, comment="When the row last changed"),
    # When a certification is verified, thousands of rows become visible at once. No index contains that
    # state, so that each row is rewritten on its page (HOT).
    Column(
        "indexed_state",
        Text,
        # In PostgreSQL's own form, which Alembic compares.
        Computed(
            "CASE WHEN state <> ALL (ARRAY['accepted'::text, 'visible'::text])"
            " THEN state ELSE NULL::text END",
            persisted=True,
        ),
        comment="The state for indexes; null: accepted or visible",
    ),
    CheckConstraint(_one_of("state", tuple(State)), name="state"),
    CheckConstraint("(state = 'sending') = (lease_owner IS NOT NULL)", name="lease"),
    CheckConstraint("state <> 'accepted' OR springest_certificate_id IS NOT NULL", name="accepted_has_id"),
    CheckConstraint(_one_of("match_method", (*PROOFS, MatchMethod.PERSON)), name="match_method"),
    CheckConstraint("match_method IS NULL OR springest_certificate_id IS NOT NULL", name="matched_has_id"),
    Index(
        "delivery_queue_idx",
        "site",
        "created_at",
        "delivery_key",
        postgresql_where=text("indexed_state = 'ready'"),
    ),
    Index(
        "delivery_queue_of_run_idx",
        "site",
        "staged_run_id",
        "created_at",
        "delivery_key",
        postgresql_where=text("indexed_state = 'ready'"),
    ),
    Index(
        "delivery_indexed_state_idx",
        "site",
        "indexed_state",
        "completed_at",
        "delivery_key",
        postgresql_where=text("indexed_state IS NOT NULL"),
    ),
    Index(
        "delivery_recheck_idx",
        "site",
        "delivery_key",
        postgresql_where=text(_one_of("indexed_state", tuple(sorted(RECHECKED)))),
    ),
    # It is empty before a certificate becomes visible and after, so this index allows HOT as well.
    Index("delivery_reason_idx", "site", "reason", postgresql_where=text("reason IS NOT NULL")),
    Index(None, "learner_ref", postgresql_using="hash"),
    Index(
        "delivery_forgotten_idx",
        "site",
        "springest_certificate_id",
        postgresql_where=text("learner_ref IS NULL AND springest_certificate_id IS NOT NULL"),
    ),
    Index(
        "delivery_doubt_idx",
        "site",
        "sent_at",
        postgresql_where=text("indexed_state IN ('unknown', 'review')"),
    ),
    Index("delivery_springest_id_idx", "site", "springest_certificate_id"),
    # The training first, so that a training is found at all sites.
    Index(None, "training_id", "site"),
    Index("delivery_needs_review_idx", "site", postgresql_where=text("needs_review")),
    comment="The ledger: one row per certificate to deliver",
    postgresql_with={"fillfactor": 50},
)

delivery_attempt = Table(
    "delivery_attempt",
    metadata,
    Column("attempt_id", BigInteger, Identity(), primary_key=True, comment="Number of the attempt"),
    _delivery("Delivery it is for", nullable=False, index=True),
    Column("run_id", Text, nullable=False, index=True, comment="Airflow run that made it"),
    Column("worker", Text, nullable=False, comment="Process that made it"),
    Column(
        "started_at", _INSTANT, nullable=False, server_default=_NOW, comment="Committed before the first byte"
    ),
    Column("finished_at", _INSTANT, comment="When its outcome was recorded; null: not yet"),
    Column("outcome", Text, comment="Event that its outcome was; null: not recorded yet"),
    Column("failure", Text, comment="Name of the error, if it failed"),
    Column("http_status", Integer, comment="HTTP status of the response; null: no response"),
    Column("bytes_handed_over", BigInteger, comment="Bytes of the body that were sent"),
    Column("document_sha256", _HASH, nullable=False, comment="sha256 of the document"),
    Column("springest_certificate_id", BigInteger, comment="Id in the response"),
    Column("message", Text, comment="Message of the server or the network, redacted"),
    Column("certification_id", BigInteger, comment="Certification it was sent for"),
    Column("valid_from", Date, comment="First day of validity that was sent"),
    Column("valid_until", Date, comment="Last day of validity that was sent; null: none"),
    Column(
        "possibly_stored",
        Boolean,
        # In PostgreSQL's own form, which Alembic compares.
        Computed(
            "outcome IS NULL OR (outcome <> ALL (ARRAY['not_stored'::text, 'refused'::text]))", persisted=True
        ),
        comment="Whether Springest may have stored the certificate",
    ),
    comment="One row per POST that was started",
)

delivery_decision = Table(
    "delivery_decision",
    metadata,
    Column("decision_id", BigInteger, Identity(), primary_key=True, comment="Number of the decision"),
    _delivery("Delivery it is about", nullable=False, index=True),
    Column("decided_at", _INSTANT, nullable=False, server_default=_NOW, comment="When it was decided"),
    Column("decided_by", Text, nullable=False, comment="Login of the person who decided; no e-mail address"),
    Column("decision", Text, nullable=False, comment="release, confirm, cancel or reopen"),
    Column("reason", Text, nullable=False, comment="Reason, in the person's own words; no e-mail address"),
    Column("springest_certificate_id", BigInteger, comment="Certificate that a confirmation named"),
    Column("version", Integer, nullable=False, comment="Version of the delivery that the person saw"),
    Column("from_state", Text, nullable=False, comment="State of the delivery before"),
    Column("to_state", Text, nullable=False, comment="State of the delivery after"),
    Column(
        "without_evidence",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Whether the person waived the evidence that a release needs",
    ),
    Column("evidence", JSONB, nullable=False, comment="Evidence at the time of the decision"),
    CheckConstraint(_one_of("decision", tuple(DecisionKind)), name="decision"),
    CheckConstraint(_one_of("from_state", tuple(State)), name="from_state"),
    CheckConstraint(_one_of("to_state", tuple(State)), name="to_state"),
    CheckConstraint("(decision = 'confirm') = (springest_certificate_id IS NOT NULL)", name="confirmed_id"),
    CheckConstraint(r"reason ~ '\S' AND reason !~ '\S@\S'", name="reason"),
    CheckConstraint(r"decided_by ~ '\S' AND decided_by !~ '\S@\S'", name="decided_by"),
    comment="One row per decision that a person made about a delivery",
)

ledger_restoration = Table(
    "ledger_restoration",
    metadata,
    Column("restoration_id", BigInteger, Identity(), primary_key=True, comment="Number of the restoration"),
    Column(
        "restored_at",
        _INSTANT,
        nullable=False,
        server_default=_NOW,
        comment="When the ledger was repaired: trainings completed before may have been sent by attempts "
        "that were lost",
    ),
    Column(
        "settled_by", Text, nullable=False, comment="Login of the person who repaired it; no e-mail address"
    ),
    Column("reason", Text, nullable=False, comment="Reason, in the person's own words; no e-mail address"),
    Column("found_attempt_id", BigInteger, nullable=False, comment="Highest attempt in the ledger"),
    Column("highest_attempt_id", BigInteger, nullable=False, comment="Highest attempt ever made"),
    Column("deliveries", Integer, nullable=False, comment="Deliveries that became unknown"),
    Column(
        "follows_trial",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Whether the attempts were those of a trial at another Springest, which sent nothing of this "
        "ledger",
    ),
    CheckConstraint(r"reason ~ '\S' AND reason !~ '\S@\S'", name="reason"),
    CheckConstraint(r"settled_by ~ '\S' AND settled_by !~ '\S@\S'", name="settled_by"),
    comment="One row per repair of this ledger: after a restored backup, or at the end of a trial",
)

staging_run = Table(
    "staging_run",
    metadata,
    Column("site", Text, primary_key=True, comment="Name of the Springest site"),
    Column("run_id", Text, primary_key=True, comment="Airflow run that staged"),
    Column("mode", Text, nullable=False, comment="watermark (nightly) or interval (backfill)"),
    Column("window_start", _INSTANT, nullable=False, comment="Start of the window on updated_at, inclusive"),
    Column("window_end", _INSTANT, nullable=False, comment="End of the window, exclusive"),
    Column("source_count", Integer, nullable=False, comment="The source's own COUNT(*) of the window"),
    Column(
        "committed_at", _INSTANT, nullable=False, server_default=_NOW, comment="When staging was complete"
    ),
    CheckConstraint(_one_of("mode", ("watermark", "interval")), name="mode"),
    comment="One row per run that staged its window completely",
)

approved_run = Table(
    "approved_run",
    metadata,
    Column("site", Text, primary_key=True, comment="Name of the Springest site"),
    Column("run_id", Text, primary_key=True, comment="Airflow run that staged the deliveries"),
    Column("approved_at", _INSTANT, nullable=False, server_default=_NOW, comment="When the run was approved"),
    Column(
        "approved_by",
        Text,
        comment="Login of the person who approved a run larger than usual, if any; no e-mail address",
    ),
    Column("approval_reason", Text, comment="Why, in the person's words; no e-mail address"),
    CheckConstraint(r"approved_by ~ '\S' AND approved_by !~ '\S@\S'", name="approved_by"),
    CheckConstraint(r"approval_reason ~ '\S' AND approval_reason !~ '\S@\S'", name="approval_reason"),
    comment="One row per run that was approved for sending; only deliveries of approved runs are sent",
)

stage_watermark = Table(
    "stage_watermark",
    metadata,
    Column("site", Text, primary_key=True, comment="Name of the Springest site"),
    Column(
        "watermark", _INSTANT, nullable=False, comment="Rows that changed before this time have been staged"
    ),
    Column("run_id", Text, nullable=False, comment="Airflow run that set it"),
    Column("updated_at", _INSTANT, nullable=False, server_default=_NOW, comment="When it was set"),
    comment="One row per site: the time up to which nightly staging has read the source",
)

staged_row = Table(
    "staged_row",
    metadata,
    Column("site", Text, primary_key=True, comment="Name of the Springest site"),
    Column("run_id", Text, primary_key=True, comment="Airflow run that saw the row"),
    Column(
        "row_no",
        Integer,
        primary_key=True,
        comment="Number of the source row in the run",
        autoincrement=False,
    ),
    _delivery("Delivery of that row", nullable=False, index=True),
    comment="One row per source row in a run's window; conservation is counted over this table",
)

learner_secret = Table(
    "learner_secret",
    metadata,
    Column(
        "secret_no", Integer, primary_key=True, autoincrement=False, server_default="1", comment="Always 1"
    ),
    Column("salt", String(32), nullable=False, comment="Random salt of the verifier"),
    Column(
        "verifier",
        _HASH,
        nullable=False,
        comment="scrypt hash of the secret, which recognises it and is slow to guess",
    ),
    Column(
        "address_rule",
        Integer,
        nullable=False,
        comment="Version of the rule that normalises e-mail addresses",
    ),
    Column("first_used_at", _INSTANT, nullable=False, server_default=_NOW, comment="When it was first used"),
    CheckConstraint("secret_no = 1", name="one_secret"),
    comment="One row: recognises the secret behind learner_ref, so that another secret is refused",
)

site_identity = Table(
    "site_identity",
    metadata,
    Column("site", Text, primary_key=True, comment="Name of the Springest site"),
    Column("host", Text, nullable=False, comment="Host of the site; localhost: a server on this machine"),
    Column(
        "key_fingerprint",
        String(16),
        nullable=False,
        comment="Fingerprint of the API key; does not reveal it",
    ),
    Column("first_used_at", _INSTANT, nullable=False, server_default=_NOW, comment="When it first staged"),
    Column("last_used_at", _INSTANT, nullable=False, server_default=_NOW, comment="When it last staged"),
    UniqueConstraint("host", "key_fingerprint"),
    comment="One row per site: the account behind its name, so that no account gets a second name",
)

rate_limit = Table(
    "rate_limit",
    metadata,
    Column("host", Text, primary_key=True, comment="Springest host; the limit on reads has a separate row"),
    Column(
        "key_fingerprint",
        String(16),
        primary_key=True,
        comment="Fingerprint of the API key; does not reveal it",
    ),
    Column(
        "theoretical_arrival",
        _INSTANT,
        nullable=False,
        server_default=_NOW,
        comment="State of GCRA: when the next request is due at the steady pace",
    ),
    Column("frozen_until", _INSTANT, comment="No request before this time; set by the server's Retry-After"),
    Column(
        "freeze_seconds",
        Integer,
        nullable=False,
        server_default="0",
        comment="Length of the last freeze in seconds",
    ),
    Column("granted", BigInteger, nullable=False, server_default="0", comment="Requests granted so far"),
    comment="One row per host and key: the state of the shared rate limit",
)

snapshot = Table(
    "snapshot",
    metadata,
    Column("snapshot_id", BigInteger, Identity(), primary_key=True, comment="Number of the snapshot"),
    Column("site", Text, nullable=False, comment="Name of the Springest site"),
    Column("run_id", Text, nullable=False, comment="Airflow run that took it"),
    Column("started_at", _INSTANT, nullable=False, server_default=_NOW, comment="Before the first request"),
    Column("finished_at", _INSTANT, comment="After the last page; null: not finished"),
    Column(
        "complete",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="Whether the whole list was read: distinct ids, first and last total agree",
    ),
    Column("first_total", Integer, comment="Total on the first page"),
    Column("last_total", Integer, comment="Total on the last page"),
    Column("distinct_ids", Integer, comment="Number of distinct ids"),
    Column("rewinds", Integer, comment="Number of times that the list had shifted and was read again"),
    Column("requests", Integer, comment="Number of requests"),
    Column(
        "scope",
        Text,
        nullable=False,
        server_default="full",
        comment="full: the whole list; narrowed: a part, by filters; owners: the certificates of single "
        "learners",
    ),
    Column("scope_detail", Text, comment="The filters, and the reason for this scope"),
    CheckConstraint(_one_of("scope", ("full", "narrowed", "owners")), name="scope"),
    CheckConstraint("scope = 'full' OR NOT complete", name="partial"),
    Index(None, "site", "finished_at"),
    comment="One row per scan of the remote list, with its evidence",
)

remote_certificate = Table(
    "remote_certificate",
    metadata,
    Column("site", Text, primary_key=True, comment="Name of the Springest site"),
    Column(
        "springest_certificate_id",
        BigInteger,
        primary_key=True,
        comment="Springest's id",
        autoincrement=False,
    ),
    Column("certification_id", BigInteger, comment="Springest's id of the certification"),
    Column("valid_from", Date, comment="First day of validity"),
    Column("valid_until", Date, comment="Last day of validity"),
    Column("springest_status", Text, comment="Status, in Springest's own word"),
    Column("created_at", _INSTANT, comment="When Springest stored it; null: the time had no zone"),
    Column(
        "learner_ref",
        _HASH,
        comment="HMAC of the owner's e-mail address, if the site names the owner; the word forgotten, if the "
        "owner was erased; the word other, if the learner it was sent for was erased and is not the "
        "owner",
    ),
    # No foreign keys to the snapshots: each of a million rows would look up the same one.
    Column("first_snapshot_id", BigInteger, nullable=False, comment="First snapshot that showed it"),
    Column("first_seen_at", _INSTANT, nullable=False, comment="Start of the first snapshot that showed it"),
    # A complete snapshot that shows it unchanged writes nothing: the views derive when it was last seen.
    Column(
        "recorded_at",
        _INSTANT,
        nullable=False,
        comment="Start of the last snapshot that wrote this row and showed the certificate; later complete "
        "ones showed it unchanged, unless lacked_at is set",
    ),
    Column(
        "lacked_at",
        _INSTANT,
        comment="Start of the first complete snapshot that lacked it since it was last shown; null: none",
    ),
    Column(
        "owner_told_by",
        Text,
        comment="Source of the owner: list (in the row), filter (a GET filtered by e-mail address)",
    ),
    CheckConstraint(_one_of("owner_told_by", ("list", "filter")), name="owner_told_by"),
    Index("remote_certificate_certification_idx", "site", "certification_id", "springest_certificate_id"),
    comment="One row per certificate that Springest has shown, with the values last seen",
    postgresql_with={"fillfactor": 90},
)

delivery_match = Table(
    "delivery_match",
    metadata,
    _delivery("Delivery", primary_key=True, autoincrement=False),
    Column("site", Text, nullable=False, comment="Name of the Springest site"),
    Column(
        "verification_status",
        Text,
        nullable=False,
        comment="Published status: inferred or ambiguous; never verified, since this is no proof",
    ),
    Column(
        "match_method",
        Text,
        comment="inferred or set_complete; null: several certificates match",
    ),
    Column("springest_certificate_id", BigInteger, comment="The certificate, if exactly one was inferred"),
    Column(
        "candidates",
        ARRAY(BigInteger),
        nullable=False,
        comment="Springest's ids of the certificates that match, at most ten",
    ),
    Column("candidate_count", Integer, nullable=False, comment="Number of certificates that match"),
    Column("evidence", Text, nullable=False, comment="Facts that support the match, to check by hand"),
    Column("review_reason", Text, comment="Reason for a review; null: none is needed"),
    Column("matched_at", _INSTANT, nullable=False, server_default=_NOW, comment="When this last changed"),
    CheckConstraint(_one_of("verification_status", ("inferred", "ambiguous")), name="verification_status"),
    CheckConstraint(_one_of("match_method", WEAKER), name="match_method"),
    Index(None, "site", "springest_certificate_id"),
    comment="One row per delivery with a match without proof; written only when it changes",
)

owner_lookup = Table(
    "owner_lookup",
    metadata,
    _delivery("Delivery", primary_key=True, autoincrement=False),
    Column(
        "asked_at",
        _INSTANT,
        nullable=False,
        server_default=_NOW,
        comment="When the learner was last looked up",
    ),
    Column(
        "certificates", Integer, comment="Number of certificates found for the learner; null: not looked up"
    ),
    comment="One row per delivery whose learner was looked up at Springest, so that the oldest look-up comes "
    "first",
)

filter_support = Table(
    "filter_support",
    metadata,
    Column("site", Text, primary_key=True, comment="Name of the Springest site"),
    Column("filter", Text, primary_key=True, comment="email, created_from or certification_id"),
    Column("is_honoured", Boolean, nullable=False, comment="Whether the site applies the filter"),
    Column("evidence", Text, nullable=False, comment="Evidence for that"),
    Column("checked_at", _INSTANT, nullable=False, server_default=_NOW, comment="When it was tested"),
    CheckConstraint(_one_of("filter", ("email", "created_from", "certification_id")), name="filter"),
    comment="One row per filter of the list of certificates that was tested on a site",
)

publication = Table(
    "publication",
    metadata,
    Column("publication_id", BigInteger, Identity(), primary_key=True, comment="Number of the publication"),
    Column("site", Text, nullable=False, comment="Name of the Springest site"),
    Column("run_id", Text, nullable=False, comment="Airflow run that computed its verdicts"),
    Column("computed_at", _INSTANT, nullable=False, comment="When they were computed"),
    Column(
        "published_at",
        _INSTANT,
        comment="When they became current; null: pending, while they wait for their checks",
    ),
    Column(
        "snapshot_id",
        BigInteger,
        ForeignKey("snapshot.snapshot_id"),
        comment="Newest snapshot when they were computed",
    ),
    Column(
        "changed", Integer, nullable=False, server_default="0", comment="Number of new and changed verdicts"
    ),
    Column("source_rows", BigInteger, comment="Source rows of all staged runs, by the source's own counts"),
    Column("verdict_rows", BigInteger, comment="Number of those with a verdict"),
    Column("incomplete_run", Text, comment="First run in which the two differ; null: none"),
    Index("publication_pending_idx", "site", unique=True, postgresql_where=text("published_at IS NULL")),
    Index(None, "site", "published_at"),
    comment="One row per publication of a site's verdicts, and one for the verdicts that are pending, if any",
)

verdict = Table(
    "verdict",
    metadata,
    Column("delivery_id", BigInteger, primary_key=True, autoincrement=False, comment="Delivery"),
    Column("verdict_id", BigInteger, Identity(), primary_key=True, comment="Number of the version"),
    # No foreign key: each of a million rows would look the same publication up.
    Column(
        "publication_id",
        BigInteger,
        nullable=False,
        index=True,
        comment="Publication that it belongs to; the version is pending until that is published",
    ),
    Column(
        "version_from",
        _INSTANT,
        comment="When this version began, if only its explanation changed since; null: with its publication",
    ),
    Column("site", Text, nullable=False, comment="Name of the Springest site"),
    Column("training_id", Text, comment="Completed training in the source"),
    Column("issue_no", Integer, comment="Issue of the certificate"),
    Column("learner_ref", _HASH, comment="HMAC of the learner's normalised e-mail address"),
    Column("certification_id", BigInteger, comment="Springest's id of the certification"),
    Column("certification_name", Text, comment="Name of the certification; null: never listed"),
    Column("valid_from", Date, comment="First day of validity"),
    Column("valid_until", Date, comment="Last day of validity; null: unlimited"),
    Column("completed_at", _INSTANT, comment="When the training was completed"),
    Column("delivery_state", Text, comment="State of the delivery in the ledger"),
    Column("delivery_reason", Text, comment="Reason for the state, as a fixed word; see docs/states.md"),
    Column("delivery_reason_detail", Text, comment="Reason for the state and the remedy, as a sentence"),
    Column("verification_status", Text, comment="Status of the certificate; see docs/states.md"),
    Column("springest_certificate_id", BigInteger, comment="Springest's id"),
    Column("springest_status", Text, comment="Status, in Springest's own word"),
    Column(
        "match_method", Text, comment="Basis of the match between delivery and certificate; null: not matched"
    ),
    Column("match_evidence", Text, comment="Facts that support the match, to check by hand"),
    Column("sent_at", _INSTANT, comment="Start of the last attempt that Springest may have stored"),
    Column("first_visible_at", _INSTANT, comment="When a snapshot first showed it"),
    Column("needs_review", Boolean, comment="Whether a person should look at it"),
    Column("review_reason", Text, comment="Reason for the review; see docs/states.md"),
    Column(
        "input_hash",
        BigInteger,
        comment="Hash of all inputs of the verdict and of this row; if it still matches, neither has changed",
    ),
    Index(None, "site", "verification_status", "delivery_state"),
    # What expires by time alone.
    Index(
        "verdict_valid_until_idx",
        "site",
        "valid_until",
        postgresql_where=text("verification_status = 'verified' AND valid_until IS NOT NULL"),
    ),
    # What people search, filter and sort by.
    Index(None, "site", "training_id"),
    Index(None, "site", "completed_at"),
    Index(None, "site", "sent_at"),
    Index(None, "site", "certification_id"),
    Index(
        "verdict_reason_idx",
        "site",
        "delivery_reason",
        postgresql_where=text("delivery_reason IS NOT NULL"),
    ),
    Index("verdict_needs_review_idx", "site", "review_reason", postgresql_where=text("needs_review")),
    Index(
        "verdict_springest_id_idx",
        "site",
        "springest_certificate_id",
        postgresql_where=text("springest_certificate_id IS NOT NULL"),
    ),
    comment="One row per delivery, its current verdict, and a second one while a changed verdict is pending; "
    "failed_check examines pending ones, so that a bad one is named and never becomes current",
)

EXPLANATORY_COLUMNS: Final = ("certification_name", "delivery_reason_detail", "match_evidence")
"""Columns that explain a verdict: a change of them alone makes no new version, and the history lacks them."""
BOOKKEEPING_COLUMNS: Final = ("verdict_id", "publication_id", "version_from", "input_hash")
"""Columns that say which version of a verdict a row is; all others are computed."""
COMPUTED_COLUMNS: Final = tuple(
    column.name for column in verdict.columns if column.name not in BOOKKEEPING_COLUMNS
)
"""Columns of a verdict that are computed, with its key."""
VERSIONED_COLUMNS: Final = tuple(
    name for name in COMPUTED_COLUMNS if name not in ("delivery_id", *EXPLANATORY_COLUMNS)
)
"""Columns of a verdict of which each change makes a new version."""
_FILLED: Final = ("training_id", "issue_no", "delivery_state", "verification_status", "needs_review")


def _copied(name: str) -> Column[Any]:
    """Return a column like that of a verdict; a version that was current has all that a verdict must have."""
    column = verdict.columns[name]
    filled = not column.nullable or name in _FILLED
    return Column(name, column.type, nullable=not filled, comment=column.comment)


verdict_history = Table(
    "verdict_history",
    metadata,
    Column("delivery_id", BigInteger, primary_key=True, autoincrement=False, comment="Delivery"),
    Column("version_from", _INSTANT, primary_key=True, comment="When this version was published"),
    Column("version_to", _INSTANT, nullable=False, comment="When the next version was published"),
    *(_copied(name) for name in VERSIONED_COLUMNS),
    CheckConstraint("version_from < version_to", name="order"),
    comment="One row per version of a verdict that has ended; certificate_reconciliation_history shows these "
    "and the current ones",
)

current_verdict = Table(
    "current_verdict",
    MetaData(schema=SCHEMA),
    *(_copied(name) for name in COMPUTED_COLUMNS),
    Column("delivery_key", _HASH),
    Column("version_from", _INSTANT, nullable=False),
    Column("live_status", Text, nullable=False),
)
"""The view of the verdicts that are published, for statements that are put together in Python."""
needs_person = Table(
    "needs_person", MetaData(schema=SCHEMA), Column("site", Text), Column("delivery_id", BigInteger)
)
"""The view of the deliveries that wait for a person."""

erasure_tombstone = Table(
    "erasure_tombstone",
    metadata,
    Column(
        "tombstone",
        _HASH,
        primary_key=True,
        comment="HMAC of the erased learner_ref; no other table has it",
    ),
    Column(
        "erased_at",
        _INSTANT,
        nullable=False,
        server_default=_NOW,
        comment="When the erasure was requested",
    ),
    comment="One row per erased learner, so that nothing brings the learner back",
)
