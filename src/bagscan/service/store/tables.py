"""Tables of the store. Times are in seconds since 1970 (UTC).

A change here needs a migration in ``migrations/versions``.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", String(256)),  # NULL for an account with API keys only
    Column("failed", Integer, nullable=False, default=0),
    Column("locked_until", Float),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", Float, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
)

setup_tokens = Table(
    "setup_tokens",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("expires_at", Float, nullable=False),
)

scans = Table(
    "scans",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("source_id", String(128), nullable=False),  # the scanner's id
    Column("digest", String(64), nullable=False),  # SHA-256 of all names and contents
    Column("files", JSON, nullable=False),  # [{name, sha256, bytes}]
    Column("scanner", String(64), nullable=False),
    Column("source", String(160), nullable=False),  # account or directory that it came from
    Column("received_at", Float, nullable=False),
    Column("tip", JSON(none_as_null=True)),  # truth of a test image
    Column("purged_at", Float),
    Index("ix_scans_received_at", "received_at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("scan_id", ForeignKey("scans.id"), nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.id")),
    Column("idempotency_key", String(128)),
    Column("state", String(8), nullable=False),  # queued, running, done
    Column("attempts", Integer, nullable=False, default=0),
    Column("instance", String(32)),  # the service that runs it
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("answered_at", Float),  # when its watched folder received the verdict
    UniqueConstraint("account_id", "idempotency_key"),
    Index("ix_jobs_state_created_at", "state", "created_at"),
)

results = Table(
    "results",
    metadata,
    Column("scan_id", ForeignKey("scans.id"), primary_key=True),
    Column("decision", String(8), nullable=False),
    Column("row", JSON, nullable=False),  # as in findings.json
    Column("artifacts", JSON, nullable=False),  # by view: SHA-256 of pixels and regions
    Column("model_id", String(32)),
    Column("threshold", Float),
    Column("top_score", Float),
    Column("seconds", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("ix_results_model_id_created_at", "model_id", "created_at"),
)

shadow_results = Table(
    "shadow_results",
    metadata,
    Column("scan_id", ForeignKey("scans.id"), primary_key=True),
    Column("model_id", String(32), primary_key=True),
    Column("decision", String(8), nullable=False),
    Column("top_score", Float),
    Column("created_at", Float, nullable=False),
)

reviews = Table(
    "reviews",
    metadata,
    Column("scan_id", ForeignKey("scans.id"), primary_key=True),
    Column("state", String(8), nullable=False),  # first, second, dispute, closed
    Column("priority", Float, nullable=False),
    Column("claimed_by", ForeignKey("accounts.id")),
    Column("claimed_tab", String(64)),  # tab of the reader's browser
    Column("claimed_at", Float),
    Column("claimed_until", Float),
    Column("outcome", String(8)),  # clear, suspect, recheck
    Column("created_at", Float, nullable=False),
    Column("closed_at", Float),
    Index("ix_reviews_state_priority", "state", "priority"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("scan_id", ForeignKey("scans.id"), nullable=False, index=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("round", String(8), nullable=False),  # first, second, dispute
    Column("value", String(8), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("note", Text, nullable=False),
    Column("parts", JSON, nullable=False),  # numbers of the confirmed findings
    # [{view_id, box_xyxy}] of places that only the reader marked; NULL if there are none
    Column("drawn", JSON(none_as_null=True)),
    Column("seconds", Float),  # since the claim
    Column("created_at", Float, nullable=False),
    Column("undone_at", Float),
    Column("audit_seq", Integer, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("channels", String(64), nullable=False),
    Column("folder", String(512), nullable=False),
    Column("name", String(64), nullable=False),
    Column("point", JSON, nullable=False),
    Column("about", JSON, nullable=False),
    Column("added_at", Float, nullable=False),
)

# The newest row of each mode and set of channels is in effect. Rows are added, never changed.
deployments = Table(
    "deployments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("channels", String(64), nullable=False),
    Column("mode", String(8), nullable=False),  # active, shadow
    Column("model_id", ForeignKey("models.id")),  # NULL ends a shadow
    Column("threshold", Float),  # NULL: the model's own
    Column("by", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("detail", Text, nullable=False),  # canonical JSON
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("signature", String(128), nullable=False),
)
