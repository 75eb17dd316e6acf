"""Pydantic models of all request and response bodies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Request body that rejects unknown fields."""

    model_config = ConfigDict(extra="forbid")


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain the character NUL")
    return value


Text = Annotated[str, AfterValidator(_no_nul)]


class LogIn(Strict):
    name: Text = Field(max_length=64)
    password: Text = Field(max_length=256)


class SetUp(LogIn):
    token: Text = Field(max_length=128, description="Token of the one-time link")


class Account(Strict):
    name: Text = Field(max_length=64)
    role: Literal["scanner", "operator", "supervisor", "admin"]
    password: Text | None = Field(
        None, max_length=256, description="null for an account that only uses API keys"
    )


class AccountChange(Strict):
    role: Literal["scanner", "operator", "supervisor", "admin"] | None = None
    password: Text | None = Field(None, max_length=256)
    disabled: bool | None = None
    unlock: bool = False


class KeyName(Strict):
    name: Text = Field(max_length=64)


class Password(Strict):
    old: Text = Field(max_length=256)
    new: Text = Field(max_length=256)


class Claim(Strict):
    scan_id: Text | None = Field(None, max_length=32, description="null for the most urgent scan")
    take_over: bool = Field(
        False, description="Take the claim from another tab of the same account"
    )


class Drawn(Strict):
    view_id: Text = Field(max_length=64)
    box_xyxy: tuple[float, float, float, float] = Field(
        description="x1, y1, x2, y2 in pixels of the view"
    )


class Decision(Strict):
    value: Literal["clear", "suspect", "recheck"]
    reason: Text = Field(max_length=32)
    note: Text = Field("", max_length=2000)
    parts: list[int] = Field(
        [], max_length=1000, description="Indices of the findings with the anomaly, from 0"
    )
    drawn: list[Drawn] = Field(
        [], max_length=100, description="Boxes that the reader drew around unflagged anomalies"
    )


class Threshold(Strict):
    threshold: float | None = Field(description="Between 0 and 1; null for the model's default")


class Channels(Strict):
    channels: Text = Field(
        max_length=64, description="As /v1/models lists them, for example low,high,zeff"
    )


class Job(BaseModel):
    """Job of a scan; ``result`` is set once ``state`` is ``done``."""

    job_id: str
    scan_id: str
    state: Literal["queued", "running", "done"]
    attempts: int
    created_at: float
    finished_at: float | None = None
    result: Screened | None = None


class Screened(BaseModel):
    """Result of a scan: its row of findings.json, with both ids of the scan."""

    model_config = ConfigDict(extra="allow")
    id: str = Field(description="Id of the scan in this service")
    scan_id: str = Field(description="Id of the scan at the scanner")
    decision: Literal["ALARM", "CLEAR", "REVIEW"]
    reasons: list[str]
    model_id: str | None = None
    threshold: float | None = None
    findings: list[dict[str, Any]]
    views: dict[str, Any]


Job.model_rebuild()


class Done(BaseModel):
    """Response to a completed request without further content."""

    done: bool = True


class Answer(BaseModel):
    """Response whose listed fields are always present; others may be added."""

    model_config = ConfigDict(extra="allow")


class QueueEntry(Answer):
    scan_id: str
    source_id: str
    received_at: float
    decision: Literal["ALARM", "CLEAR", "REVIEW"] = Field(description="Verdict of the model")
    top_score: float | None
    state: Literal["open", "dispute"]
    claim: Literal["free", "yours", "elsewhere", "taken"] = Field(
        description="elsewhere: yours in another tab; taken: by another account"
    )


class Queue(Answer):
    scans: list[QueueEntry]
    waiting: int = Field(description="Number of all waiting scans; `scans` are the most urgent")
    now: float


class Claimed(Answer):
    scan_id: str
    claimed_until: float


class Decided(Answer):
    decision: int = Field(description="Number of the decision")
    closed: bool = Field(description="True if no other reader is needed")
    undoable: bool
    undo_until: float
    audit_seq: int
    tip: dict[str, Any] | None = Field(None, description="For a test image: hit, kind, place")
    truth: str | None = Field(
        None,
        description="Sentence saying what the scan hides; for scans of serve --demo only",
    )


class DecisionRecord(Answer):
    by: str
    id: int
    round: Literal["first", "second", "dispute"]
    value: Literal["clear", "suspect", "recheck"]
    reason: str
    note: str
    parts: list[int]
    drawn: list[Drawn] | None
    created_at: float
    undone_at: float | None
    audit_seq: int


class Decisions(Answer):
    decisions: list[DecisionRecord]


class ScanDetails(Answer):
    id: str
    source_id: str
    scanner: str
    received_at: float
    purged: bool = Field(description="True if retention has removed the images")
    result: Screened | None
    views: dict[str, dict[str, Any]] = Field(
        description="By view: height, width, channels, and the paths of pixels, regions, image.png "
        "and overlay.svg"
    )
    decisions: list[DecisionRecord]
    review: Literal["open", "dispute", "closed"] | None
    outcome: Literal["clear", "suspect", "recheck"] | None
    claimed_until: float | None


class ArchiveQuery(Strict):
    """Search of the archive; empty fields match every scan."""

    text: Text = Field(
        "",
        max_length=128,
        description="Part of the id at the scanner, or beginning of the id in this service",
    )
    scanner: Text = Field("", max_length=64)
    reader: Text = Field("", max_length=64, description="Account that decided on the scan")
    since: float | None = Field(
        None, description="Received at this time (seconds since 1970) or later"
    )
    before: float | None = Field(None, description="Received before this time")
    decision: Literal["", "ALARM", "CLEAR", "REVIEW"] = ""
    outcome: Literal["", "clear", "suspect", "recheck", "open", "dispute"] = ""
    order: Literal["received", "score", "id"] = "received"
    falling: bool = Field(True, description="Largest or newest first")
    offset: int = Field(0, ge=0)
    limit: int = Field(50, ge=1, le=500)


class ScanList(Answer):
    scans: list[dict[str, Any]]
    total: int = Field(
        description="Number of all matches; `scans` are `limit` of them from `offset` on"
    )


class ModelList(Answer):
    models: list[dict[str, Any]] = Field(
        description="id, channels, name, point, about, active, shadow, threshold"
    )
    history: list[dict[str, Any]] = Field(description="Deployments, newest first")


class ModelMade(Answer):
    id: str
    channels: str


class Serving(Answer):
    model_id: str
    threshold: float


class AuditPage(Answer):
    records: list[dict[str, Any]] = Field(
        description="seq, at, actor, action, subject, detail, previous, hash, signature"
    )
    head: dict[str, Any] | None
    public_key: str


class Verified(Answer):
    records: int
    wrong: list[str] = Field(description="Faults; empty if the chain is valid")


class Rate(Answer):
    k: int
    n: int
    rate: float | None
    low: float
    high: float


class Statistics(Answer):
    days: int
    scans: int
    by_decision: dict[str, int]
    by_scanner: dict[str, dict[str, int]]
    by_day: list[dict[str, Any]]
    score_histogram: list[int]
    seconds_percentiles: dict[str, float]
    outcomes: dict[str, Any]
    readers: list[dict[str, Any]]
    machine_tip_hits: Rate
    agreement: Rate
    shadows: list[dict[str, Any]]
    drift_p: dict[str, float]


class AccountList(Answer):
    accounts: list[dict[str, Any]]


class Made(Answer):
    id: int


class KeyMade(Made):
    key: str = Field(description="Returned only once")


class Me(Answer):
    name: str | None = Field(description="null if nobody is logged in")
    role: str | None = None
    permissions: list[str] = []
    csrf: str | None = None


class Live(Answer):
    live: bool
    bagscan: str


class Ready(Answer):
    ready: bool
    models: list[dict[str, Any]]
