"""Stand-ins for the worker process: they speak its protocol and score by a word in the file.

The words are ``alarm``, ``clear``, ``hang``, ``die``, ``once`` (dies the first time), ``nan``,
``torn`` (an invalid answer), ``lie`` (CLEAR with findings), ``refuse``, ``broken`` (an error of
the model), ``slow``, ``score`` (followed by a number) and ``nothing`` (no item found).
"""

import contextlib
import os
import threading
import time
from multiprocessing import Pipe
from pathlib import Path

import numpy as np

from bagscan.core import View
from bagscan.formats.coco import encode_mask
from bagscan.service.inference.artifacts import packed_pixels, packed_regions
from bagscan.service.store.files import Files
from bagscan.workers.process import WorkerLost
from bagscan.workers.protocol import receive, send

SIDE = 48
MODEL = "stub"


def tiff(word, number=0):
    """Bytes that pass for a TIFF at the door."""
    return b"II*\x00" + f"{word} {number}".encode()


class ThreadWorker:
    """Worker in a thread: ready at once, cannot be killed; see bagscan.workers.process.Worker."""

    pid = None

    def __init__(self, target):
        self._pipe, theirs = Pipe()
        self._thread = threading.Thread(target=self._run, args=(target, theirs), daemon=True)
        self._thread.start()

    @staticmethod
    def _run(target, pipe):
        with contextlib.suppress(OSError, SystemExit), pipe:
            target(pipe)

    @property
    def alive(self):
        return self._thread.is_alive()

    def ask(self, task, timeout_s):
        try:
            send(self._pipe, task)
            if not self._pipe.poll(timeout_s):
                raise WorkerLost(f"no answer within {timeout_s:g} s")
            return receive(self._pipe)
        except (EOFError, OSError, ValueError) as error:
            self.stop()
            raise WorkerLost("the thread ended in the middle of its work") from error

    def stop(self):
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._thread.join(5)


def end():
    """End the process, or the thread that stands for one."""
    if threading.current_thread() is threading.main_thread():
        os._exit(9)
    raise SystemExit


def stub_worker(pipe):
    while True:
        try:
            task = receive(pipe)
        except EOFError:
            return
        if task["kind"] == "screen":
            send(pipe, _screen(task))
        elif task["kind"] == "shadow":
            send(
                pipe,
                {
                    "ok": True,
                    "shadows": [
                        {"model_id": "shadow", "decision": "CLEAR", "top_score": 0.1}
                        for _ in task["shadows"]
                    ],
                    "errors": [],
                },
            )
        elif task["kind"] == "project":
            Path(task["out"]).write_bytes(tiff("alarm", task["seed"]))
            send(pipe, {"ok": True, "truth": {"kind": "sharp", "at": [3, 4], "pixels": 7}})
        else:
            send(pipe, {"ok": True})


def _screen(task):
    content = b" ".join(Path(path).read_bytes() for path in task["files"].values()).decode(
        errors="replace"
    )
    threshold = next(
        (model["threshold"] for model in task["models"] if model["threshold"] is not None), 0.5
    )
    if "hang" in content:
        time.sleep(60)
    if "die" in content:
        end()
    if "once" in content and not (mark := Path(task["objects"]) / "died").exists():
        mark.touch()
        end()
    if "slow" in content:
        time.sleep(0.2)
    if "refuse" in content:
        return {"ok": False, "error": "not a readable TIFF", "refused": True}
    if "broken" in content:
        return {"ok": False, "error": "sizes of tensors do not fit"}
    if "torn" in content:
        return {"ok": True, "row": {"decision": "CLEAR"}}
    score = 0.9 if "alarm" in content else 0.2
    if "score" in content:
        score = float(content.split("score ")[1].split()[0])
    row, artifacts = screened(Files(Path(task["objects"])), score, threshold, list(task["files"]))
    if "nothing" in content:
        row, artifacts, score = *unjudged(Files(Path(task["objects"])), row, artifacts), None
    if "lie" in content:
        row["decision"] = "CLEAR"
    stats = {"top_score": float("nan") if "nan" in content else score}
    return {"ok": True, "row": row, "artifacts": artifacts, "stats": stats, "seconds": 0.01}


def unjudged(files, row, artifacts):
    """The same bag, but no item was found in any view."""
    empty = {
        "regions": files.put(
            packed_regions(np.full((SIDE, SIDE), -1, np.int32), np.zeros(0, np.float32))
        )
    }
    return row | {"decision": "CLEAR", "findings": []}, {
        view: kept | empty for view, kept in artifacts.items()
    }


def screened(files, score, threshold, names):
    """A row and artifacts like the real worker's: 4 square regions per view, the last scored."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[:, SIDE // 2 :] += 1
    labels[SIDE // 2 :] += 2
    scores = np.array([0.01, 0.02, 0.03, score], np.float32)
    rng = np.random.default_rng(0)
    deep = 0.2 + 0.5 * labels + rng.normal(0, 0.01, labels.shape)
    pixels = np.stack([np.exp(-1.3 * deep), np.exp(-deep), 7 + 5 * labels]).astype(np.float32)
    artifacts, views, findings = {}, {}, []
    for number, name in enumerate(sorted(names)):
        view_id = next((v for v in ("below", "side") if f"_{v}." in name), str(number))
        view = View(pixels, ("low", "high", "zeff"), "dual_energy", view_id=view_id, bit_depth=16)
        artifacts[view_id] = {
            "pixels": files.put(packed_pixels(view)),
            "regions": files.put(packed_regions(labels, scores)),
            "height": SIDE,
            "width": SIDE,
            "channels": ["low", "high", "zeff"],
        }
        views[view_id] = {"height": SIDE, "width": SIDE, "path": name}
        if score >= threshold:
            mask = labels == 3
            box = [SIDE / 2, SIDE / 2, float(SIDE), float(SIDE)]
            finding = {
                "view_id": view_id,
                "label": "anomaly",
                "score": float(np.float32(score)),
                "expected_false_positive_rate": 0.01,
                "kind": "superpixel",
                "box_xyxy": box,
            }
            findings.append(
                finding
                | {"polygon": [[24, 24], [48, 24], [48, 48], [24, 48]], "mask": encode_mask(mask)}
            )
    decision = "ALARM" if findings else "CLEAR"
    row = {
        "scan_id": "x",
        "path": sorted(names)[0],
        "sha256": "0" * 64,
        "decision": decision,
        "reasons": [],
        "model_id": MODEL,
        "threshold": threshold,
        "timings": {},
    }
    return row | {"views": views, "findings": findings}, artifacts
