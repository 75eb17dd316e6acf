"""Measure the service under load and under kills, with a worker that answers at once.

    python -m experiments.service_load load        # requests per second, latency, overload
    python -m experiments.service_load kills --workers 100 --services 50

The service runs in a separate process, on SQLite with every commit synced to disk. The clients run
in this process, on the same cores. The tables are ``service_load`` and ``service_kills``.
"""

from __future__ import annotations

import argparse
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from experiments.engine import RESULTS, Run, keep

NOTE = (
    "Service and clients on the same cores; a worker that answers at once; "
    "SQLite, every commit synced to disk."
)
CLIENTS = 32
SECONDS = 15.0
MEGABYTE = 1 << 20


def instant_worker(pipe):  # type: ignore[no-untyped-def]
    """Answer every task at once with CLEAR; files named ``slow`` take 50 ms."""
    from bagscan.workers.protocol import receive, send

    row = {
        "scan_id": "x",
        "decision": "CLEAR",
        "reasons": [],
        "findings": [],
        "views": {"0": {"height": 1, "width": 1}},
        "model_id": "stub",
        "threshold": 0.5,
        "path": "x",
    }
    while True:
        try:
            task = receive(pipe)
        except EOFError:
            return
        if task["kind"] == "screen" and any("slow" in name for name in task["files"]):
            time.sleep(0.05)
        send(
            pipe,
            {"ok": True, "row": row, "artifacts": {}, "stats": {"top_score": 0.1}, "seconds": 0.0},
        )


def serve(folder: str, port: int, waiting: int) -> None:
    """Run the service; the entry point of its process.

    Args:
        folder: the service's folder; the key of its scanner account is written to ``key``.
        port: port to listen on.
        waiting: maximum number of waiting scans.
    """
    import uvicorn

    from bagscan.service import accounts
    from bagscan.service.http.app import create_app
    from bagscan.service.run import SWITCH_S
    from bagscan.service.service import Service
    from bagscan.service.settings import ServiceConfig

    # Imported under the module name by which worker processes find it, not as __main__.
    from experiments.service_load import instant_worker as target

    sys.setswitchinterval(SWITCH_S)
    config = ServiceConfig(
        folder=Path(folder), port=port, max_waiting=waiting, drift_window=0, screen_timeout_s=10
    )
    service = Service(config, target)
    service.start()
    key_file = Path(folder) / "key"
    if not key_file.exists():
        auditor = service.auditor
        number = service.store.write(
            lambda c: accounts.create_account(c, auditor, "benchmark", "scanner", "scanner", None)
        )
        _, key = service.store.write(
            lambda c: accounts.create_key(c, auditor, "benchmark", number, "benchmark")
        )
        key_file.write_text(key)
    try:
        uvicorn.run(create_app(service), port=port, log_level="error")
    finally:
        service.stop()


class Served:
    """Service in a process that can be started and killed repeatedly."""

    def __init__(self, folder: Path, waiting: int = 64) -> None:
        self.folder, self.port, self.waiting = folder, 18_765 + os.getpid() % 1000, waiting
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        command = [sys.executable, "-m", "experiments.service_load", "serve"]
        command += [str(self.folder), str(self.port), str(self.waiting)]
        self.process = subprocess.Popen(command, stderr=log, start_new_session=True)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        assert self.process
        while True:
            try:
                if httpx.get(f"{self.url}/v1/health/ready", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self.process.poll() is not None:
                raise SystemExit((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the service and its workers with SIGKILL, like a power cut."""
        assert self.process
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {(self.folder / 'key').read_text()}",
            "Content-Type": "application/octet-stream",
        }


def hammer(
    served: Served, clients: int, seconds: float, scan: bytes, within_s: float = 0.0
) -> dict[str, Any]:
    """Send scans in a closed loop: a client sends the next scan when it has an answer.

    After 429 or 503 a client waits for ``Retry-After``.

    Args:
        served: the running service.
        clients: number of clients, each a thread.
        seconds: duration.
        scan: bytes of a scan; every request appends a number.
        within_s: seconds over which the starts of the clients are spread; 0 starts all at once.

    Returns:
        Requests per second, latencies in milliseconds, and number of answers by status.
    """
    codes: list[int] = []
    latencies: list[float] = []
    lock, ready, stop = threading.Lock(), threading.Barrier(clients + 1), float("inf")
    context = ssl.create_default_context()  # shared: it takes a client 40 ms to create

    def send(number: int) -> None:
        with httpx.Client(
            base_url=served.url, headers=served.headers, timeout=60, verify=context
        ) as client:
            ready.wait()
            time.sleep(within_s * number / clients)
            count = 0
            while time.perf_counter() < stop:
                body = scan + f"{number} {count}".encode()
                started = time.perf_counter()
                answer = client.post("/v1/screen?name=a.tif", content=body)
                took = time.perf_counter() - started
                count += 1
                with lock:
                    codes.append(answer.status_code)
                    if answer.status_code == 200:
                        latencies.append(took)
                if answer.status_code in (429, 503):
                    time.sleep(float(answer.headers.get("retry-after", 1)))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    started, stop = time.perf_counter(), time.perf_counter() + seconds
    ready.wait()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    n_by_code = {str(code): codes.count(code) for code in sorted(set(codes))}
    p50, p99 = (float(v) for v in np.percentile(latencies, [50, 99])) if latencies else (0.0, 0.0)
    return {
        "clients": clients,
        "seconds": round(took, 1),
        "requests_per_s": round(len(latencies) / took, 1),
        "p50_ms": round(1000 * p50, 1),
        "p99_ms": round(1000 * p99, 1),
        "codes": n_by_code,
    }


def load(scan_bytes: int, clients: int, seconds: float) -> None:
    """Measure normal load, overload and recovery, and record them.

    Args:
        scan_bytes: size of a scan.
        clients: number of clients; overload has five times as many.
        seconds: duration of a measurement.
    """
    sys.setswitchinterval(0.0005)  # the clients are threads and wait for each other
    scan = b"II*\x00" + os.urandom(scan_bytes)
    with tempfile.TemporaryDirectory(prefix="bagscan-load-") as folder:
        served = Served(Path(folder), waiting=clients)
        served.start()
        hammer(served, clients, 2, scan)
        normal = hammer(served, clients, seconds, scan)
        print("normal", normal, flush=True)
        over = hammer(served, 5 * clients, seconds, scan, within_s=2.0)
        print("overload", over, flush=True)
        at_once = hammer(served, 5 * clients, seconds, scan)
        print("overload at once", at_once, flush=True)
        limit_ms = 1.5 * float(str(normal["p99_ms"]))
        recovered_s = None
        started = time.perf_counter()
        while time.perf_counter() - started < 10:
            if hammer(served, clients, 1.5, scan)["p99_ms"] <= limit_ms:
                recovered_s = round(time.perf_counter() - started, 1)
                break
        small = hammer(served, clients, seconds / 2, b"II*\x00" + bytes(10_000))
        print("small scans", small, flush=True)
        served.kill()
    loads = {
        "32 clients, 1 MB scans": normal,
        "5 times as many, beginning within 2 s": over,
        "5 times as many, in the same moment": at_once,
        "after overload": {"normal again after s": recovered_s},
        "32 clients, 10 kB scans": small,
    }
    for name, found in loads.items():
        flat = {key: value for key, value in found.items() if not isinstance(value, dict)}
        keep(
            Run("service_load", {"load": name}),
            flat | {f"answers {code}": n for code, n in found.get("codes", {}).items()},
            notes=[NOTE],
        )


def kills(workers: int, services: int, out: Path) -> None:
    """Send scans continuously, kill processes at random, and check that no job is lost or doubled.

    Args:
        workers: number of worker processes to kill.
        services: number of times to kill the service.
        out: directory of the record.
    """
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="bagscan-kills-") as folder:
        served = Served(Path(folder), waiting=200)
        served.start()
        accepted: dict[str, str] = {}
        stop = threading.Event()

        def send() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                key, name = f"k{number}", "slow.tif" if number % 2 else "a.tif"
                while not stop.is_set():  # like the client: the same key until there is an answer
                    try:
                        answer = httpx.post(
                            f"{served.url}/v1/jobs?name={name}",
                            content=b"II*\x00" + key.encode(),
                            headers=served.headers | {"Idempotency-Key": key},
                            timeout=10,
                        )
                    except (httpx.TransportError, OSError):
                        time.sleep(0.05)
                        continue
                    if answer.status_code in (200, 202):
                        accepted[key] = answer.json()["job_id"]
                        break
                    time.sleep(0.1)

        sender = threading.Thread(target=send)
        sender.start()
        killed_workers = 0
        while killed_workers < workers:
            served.wait_until_ready()
            time.sleep(float(rng.uniform(0.02, 0.3)))
            assert served.process
            for pid in _children(served.process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed_workers += 1
                except ProcessLookupError:
                    pass
        print(f"{killed_workers} workers killed, {len(accepted)} jobs accepted", flush=True)
        for number in range(services):
            time.sleep(float(rng.uniform(0.1, 1.0)))
            served.kill()
            served.start()
            if number % 10 == 9:
                print(f"{number + 1} services killed, {len(accepted)} jobs accepted", flush=True)
        stop.set()
        sender.join()
        record = _count_jobs(served, accepted, killed_workers, services)
        served.kill()
        command = [sys.executable, "-c", "from bagscan.cli import main; main()"]
        command += ["audit", "verify", "--folder", folder]
        verification = subprocess.run(command, capture_output=True, text=True, check=False)
        record["audit verify"] = verification.stdout.strip()
    keep(Run("service_kills", {"killed": "kill -9 at random"}), record, notes=[NOTE], folder=out)


def _children(pid: int) -> list[int]:
    """Return the process ids of a service's workers, not of its resource tracker."""
    command = ["ps", "-ww", "-eo", "pid,ppid,args"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    children = []
    for line in output.splitlines()[1:]:
        child, parent, args = line.split(None, 2)
        if int(parent) == pid and "spawn_main" in args:
            children.append(int(child))
    return children


def _count_jobs(
    served: Served, accepted: dict[str, str], workers: int, services: int
) -> dict[str, Any]:
    """Wait for all accepted jobs, then count jobs and results in the database."""
    import sqlite3

    done = {}
    with httpx.Client(base_url=served.url, headers=served.headers, timeout=30) as client:
        for key, job in accepted.items():
            until = time.monotonic() + 60
            state = client.get(f"/v1/jobs/{job}").json()["state"]
            while state != "done" and time.monotonic() < until:
                time.sleep(0.05)
                state = client.get(f"/v1/jobs/{job}").json()["state"]
            done[key] = state == "done"
    with sqlite3.connect(served.folder / "store.sqlite") as store:
        jobs = store.execute(
            "SELECT COUNT(*), COUNT(DISTINCT idempotency_key) FROM jobs"
        ).fetchone()
        results, review = store.execute(
            "SELECT COUNT(*), SUM(decision = 'REVIEW') FROM results"
        ).fetchone()
        integrity = store.execute("PRAGMA integrity_check").fetchone()[0]
    return {
        "workers_killed": workers,
        "services_killed": services,
        "accepted": len(accepted),
        "lost": sum(not ok for ok in done.values()),
        "jobs_twice": jobs[0] - jobs[1],
        "results": results,
        "ended_as_review": review,
        "store": integrity,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve_command = commands.add_parser("serve")
    serve_command.add_argument("folder")
    serve_command.add_argument("port", type=int)
    serve_command.add_argument("waiting", type=int)
    load_command = commands.add_parser("load")
    load_command.add_argument("--scan-bytes", type=int, default=MEGABYTE)
    load_command.add_argument("--clients", type=int, default=CLIENTS)
    load_command.add_argument("--seconds", type=float, default=SECONDS)
    kills_command = commands.add_parser("kills")
    kills_command.add_argument("--workers", type=int, default=100)
    kills_command.add_argument("--services", type=int, default=50)
    kills_command.add_argument("--out", type=Path, default=RESULTS)
    arguments = vars(parser.parse_args())
    commands_by_name: dict[str, Callable[..., None]] = {
        "serve": serve,
        "load": load,
        "kills": kills,
    }
    commands_by_name[arguments.pop("command")](**arguments)


if __name__ == "__main__":
    main()
