"""A small client of the service's API."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from bagscan.core.errors import BagscanError


class ServiceError(BagscanError):
    """The service refused, with its problem document.

    Attributes:
        status: of HTTP. problem: the document (RFC 9457), empty where none came.
    """

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('detail', 'no reason given')}")
        self.status, self.problem = status, problem


class Client:
    """Screens scans through a service.

    Args:
        url: for example ``http://127.0.0.1:8765``. key: of an account of role scanner.
        patience_s: for which requests that come back as busy, or that get no answer, are sent again.

    ::

        with Client("http://127.0.0.1:8765", key) as client:
            print(client.screen(["7_below.tif", "7_side.tif"])["decision"])
    """

    def __init__(
        self,
        url: str,
        key: str,
        patience_s: float = 60.0,
        timeout_s: float = 240.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout_s,
            transport=transport,
        )
        self.patience_s = patience_s

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def screen(self, files: Sequence[str | Path], scanner: str = "") -> dict[str, Any]:
        """Screen one bag and wait; the row as in ``findings.json``.

        Raises:
            ServiceError: refused. BagscanError: no answer in time.
        """
        return self._send("/v1/screen", files, scanner)

    def submit(self, files: Sequence[str | Path], scanner: str = "") -> dict[str, Any]:
        """Hand one bag in; its job. However often it is sent, the same files are one job."""
        return self._send("/v1/jobs", files, scanner)

    def job(self, job_id: str) -> dict[str, Any]:
        """A job; ``result`` is its row once it is done."""
        return self._asked("GET", f"/v1/jobs/{job_id}")

    def wait(self, job_id: str, timeout_s: float = 240.0) -> dict[str, Any]:
        """The row of a job, once it is done.

        Raises:
            BagscanError: it is not done in time.
        """
        until = time.monotonic() + timeout_s
        while (job := self.job(job_id))["state"] != "done":
            if time.monotonic() > until:
                raise BagscanError(f"job {job_id} is {job['state']} after {timeout_s:g} s")
            time.sleep(0.2)
        row: dict[str, Any] = job["result"]
        return row

    def scan(self, scan_id: str) -> dict[str, Any]:
        """A scan that this account sent: what was found, where its views are."""
        return self._asked("GET", f"/v1/scans/{scan_id}")

    def _send(self, path: str, files: Sequence[str | Path], scanner: str) -> dict[str, Any]:
        if isinstance(files, str | Path) or not files:
            raise ValueError("files is a list of the paths of one bag")
        contents = [(path.name, path.read_bytes()) for path in sorted(map(Path, files))]
        digest = hashlib.sha256(b"".join(name.encode() + content for name, content in contents))
        parts = [("files", item) for item in contents]
        return self._asked(
            "POST",
            path,
            params={"scanner": scanner},
            headers={"Idempotency-Key": digest.hexdigest()},
            files=parts,
        )

    def _asked(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        until = time.monotonic() + self.patience_s
        while True:
            try:
                response = self._http.request(method, path, **more)
            except httpx.TransportError as error:
                if time.monotonic() > until:
                    raise BagscanError(f"no answer from {self._http.base_url}: {error}") from error
                time.sleep(0.5)
                continue
            if response.status_code in (429, 503) and time.monotonic() < until:
                time.sleep(float(response.headers.get("Retry-After", 1)))
                continue
            if response.is_success:
                answer: dict[str, Any] = response.json()
                return answer
            try:
                problem = response.json()
            except ValueError:
                problem = {}
            raise ServiceError(response.status_code, problem if isinstance(problem, dict) else {})
