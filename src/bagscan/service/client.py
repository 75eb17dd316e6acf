"""Client of the service's HTTP API."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from bagscan.core.errors import BagscanError


class ServiceError(BagscanError):
    """HTTP error response of the service.

    Attributes:
        status: HTTP status.
        problem: problem document (RFC 9457); empty if the response has none.
    """

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"{status}: {problem.get('detail', 'no reason given')}")
        self.status, self.problem = status, problem


class Client:
    """Client that screens scans with a service.

    Args:
        url: address of the service, for example ``http://127.0.0.1:8765``.
        key: API key of an account with the role scanner.
        patience_s: time in seconds during which a request is repeated if the service is busy
            (429, 503) or does not answer.
        timeout_s: timeout of a single request, in seconds.
        transport: httpx transport, for tests.

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
        """Close the connection."""
        self._http.close()

    def screen(self, files: Sequence[str | Path], scanner: str = "") -> dict[str, Any]:
        """Screen the files of one bag and return its row, as in ``findings.json``.

        Raises:
            ServiceError: the service rejects the request.
            BagscanError: the service does not answer in time.
            ValueError: ``files`` is empty or a single path.
        """
        return self._send("/v1/screen", files, scanner)

    def submit(self, files: Sequence[str | Path], scanner: str = "") -> dict[str, Any]:
        """Submit the files of one bag and return its job.

        Submitting the same files again returns the same job. Raises as :meth:`screen`.
        """
        return self._send("/v1/jobs", files, scanner)

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job; its ``result`` is the row once ``state`` is ``done``."""
        return self._request("GET", f"/v1/jobs/{job_id}")

    def wait(self, job_id: str, timeout_s: float = 240.0) -> dict[str, Any]:
        """Wait until a job is done and return its row.

        Raises:
            BagscanError: the job is not done within ``timeout_s`` seconds.
        """
        until = time.monotonic() + timeout_s
        while (job := self.job(job_id))["state"] != "done":
            if time.monotonic() > until:
                raise BagscanError(f"job {job_id} is still {job['state']} after {timeout_s:g} s")
            time.sleep(0.2)
        row: dict[str, Any] = job["result"]
        return row

    def scan(self, scan_id: str) -> dict[str, Any]:
        """Return a scan that this account sent: its result and the addresses of its views."""
        return self._request("GET", f"/v1/scans/{scan_id}")

    def _send(self, path: str, files: Sequence[str | Path], scanner: str) -> dict[str, Any]:
        if isinstance(files, str | Path) or not files:
            raise ValueError("files must be a non-empty list of the paths of one bag")
        contents = [(path.name, path.read_bytes()) for path in sorted(map(Path, files))]
        digest = hashlib.sha256(b"".join(name.encode() + content for name, content in contents))
        parts = [("files", item) for item in contents]
        return self._request(
            "POST",
            path,
            params={"scanner": scanner},
            headers={"Idempotency-Key": digest.hexdigest()},
            files=parts,
        )

    def _request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        until = time.monotonic() + self.patience_s
        while True:
            try:
                response = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                if time.monotonic() > until:
                    message = f"no answer from {self._http.base_url}: {error}"
                    raise BagscanError(message) from error
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
