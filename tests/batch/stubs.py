"""Stand-in for the worker process of an archive: scores by file name, in no time."""

import hashlib
import os
import time
from pathlib import Path

from bagscan.workers.protocol import receive, send


def screen_by_name(pipe):
    while True:
        try:
            task = receive(pipe)
        except EOFError:
            return
        send(pipe, _answer(task))


def _answer(task):
    if task["kind"] == "warm":
        return {"ok": True}
    path = Path(task["views"][0]["path"])
    if "hang" in path.name:
        time.sleep(60)
    if "die" in path.name:
        os._exit(9)
    if "away" in path.name and (path.parent.parent / "outage").exists():
        return {
            "ok": False,
            "error": "the store does not answer",
            "code": "model_failed",
            "surroundings": True,
        }
    if "corrupt" in path.name:
        row = {
            "scan_id": path.stem,
            "path": str(path),
            "decision": "REVIEW",
            "reasons": ["torn"],
            "reason_codes": ["unreadable"],
            "notes": [],
            "error": "torn",
            "views": {},
            "findings": [],
        }
        return {"ok": True, "row": row, "top_score": None}
    with (path.parent.parent / "screened_bags").open("a") as file:  # one line per scored bag
        file.write(path.name + "\n")
    time.sleep(0.01 if "slow" in path.name else 0)
    score = int(hashlib.sha256(path.name.encode()).hexdigest()[:4], 16) / 65536
    found = [
        {
            "view_id": "0",
            "label": "anomaly",
            "score": score,
            "expected_false_positive_rate": 0.01,
            "box_xyxy": [1.0, 2.0, 3.0, 4.0],
            "mask": {"size": [8, 8], "counts": "x"},
        }
    ]
    alarm = score > 0.5
    row = {
        "scan_id": path.stem,
        "path": str(path),
        "sha256": "0" * 64,
        "decision": "ALARM" if alarm else "CLEAR",
        "reasons": [],
        "reason_codes": [],
        "notes": [],
        "model_id": "stub",
        "threshold": 0.5,
        "n_regions": 9,
    }
    views = {
        view["view_id"]: {"height": 8, "width": 8, "path": view["path"]} for view in task["views"]
    }
    return {
        "ok": True,
        "row": row | {"views": views, "findings": found if alarm else []},
        "top_score": score,
    }


def dies_while_it_loads(pipe):
    """The second worker process that starts exits while loading; a file counts the starts."""
    with Path(os.environ["STUB_STARTS"]).open("a") as file:
        file.write("started\n")
    if len(Path(os.environ["STUB_STARTS"]).read_text().splitlines()) == 2:
        os._exit(9)
    screen_by_name(pipe)
