"""What goes over the wire, as pydantic models: here and nowhere else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold the character NUL")
    return value


Text = Annotated[str, AfterValidator(_no_nul)]


class LogIn(Strict):
    name: Text = Field(max_length=64)
    password: Text = Field(max_length=256)


class SetUp(LogIn):
    token: Text = Field(max_length=128, description="From the one-time link")


class Account(Strict):
    name: Text = Field(max_length=64)
    role: Literal["scanner", "operator", "supervisor", "admin"]
    password: Text | None = Field(None, max_length=256, description="None for an account that uses keys alone")


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
    scan_id: Text | None = Field(None, max_length=32, description="None: the most urgent scan")


class Decision(Strict):
    value: Literal["clear", "suspect", "recheck"]
    reason: Text = Field(max_length=32)
    note: Text = Field("", max_length=2000)
    parts: list[int] = Field([], max_length=1000, description="Numbers of the findings that hold it, from 0")


class Threshold(Strict):
    threshold: float | None = Field(description="Between 0 and 1; null for the model's own")


class Channels(Strict):
    channels: Text = Field(max_length=64, description="As in /v1/models, for example low,high,zeff")


class Job(BaseModel):
    """A job; ``result`` is there once it is done."""

    job_id: str
    scan_id: str
    state: Literal["queued", "running", "done"]
    attempts: int
    created_at: float
    finished_at: float | None = None
    result: Screened | None = None


class Screened(BaseModel):
    """What was found in a scan. ``row`` of findings.json, and where to look."""

    model_config = ConfigDict(extra="allow")
    id: str = Field(description="Of the scan here")
    scan_id: str = Field(description="As the scanner calls it")
    decision: Literal["ALARM", "CLEAR", "REVIEW"]
    reasons: list[str]
    model_id: str | None = None
    threshold: float | None = None
    findings: list[dict[str, Any]]
    views: dict[str, Any]


Job.model_rebuild()


class Done(BaseModel):
    """An answer that only says that it is done."""

    done: bool = True
