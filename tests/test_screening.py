"""The one path from scan to report: library, command line, and errors."""

import json
import re
import resource
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file
from typer.testing import CliRunner

from bagscan.cli import app
from bagscan.core import Decision, OperatingPoint, Scan, View
from bagscan.core.errors import ConfigError, DataError, ModelError, ReadError
from bagscan.core.extras import how_to_install
from bagscan.core.files import lock_folder
from bagscan.evaluation.operating_point import choose_operating_point
from bagscan.examining import Examined, upsample_labels
from bagscan.formats import read_scan
from bagscan.formats.coco import read_coco
from bagscan.model import Model
from bagscan.model_folder import shipped_models, write_files
from bagscan.reporting import folder
from bagscan.reporting.findings import report_row
from bagscan.reporting.folder import screen_folder
from bagscan.runtime.load import load_model
from bagscan.screening import Screener, outline
from bagscan.training.experiment import read_experiment

run = CliRunner().invoke


def scan_of(pixels: np.ndarray, **changes) -> Scan:
    view = View(pixels.astype(np.float32), ("red", "green", "blue"), "pseudo_colour", bit_depth=8)
    return Scan("a", (replace(view, **changes),))


@pytest.fixture(scope="module")
def scans(yolo_root: Path) -> list[Path]:
    return sorted((yolo_root / "images").iterdir())[:4]


def test_findings_are_the_regions_over_the_threshold(tiny_model, scans):
    screener = Screener.load(tiny_model)
    for path in scans:
        report = screener.screen(read_scan(path))
        scores, labels = report.scores["0"], report.regions["0"]
        assert labels.shape == (96, 128)
        assert labels.max() == len(scores) - 1
        assert [f.score for f in report.findings] == sorted(
            (float(s) for s in scores if s >= 0.6), reverse=True
        )
        assert report.decision is (Decision.ALARM if report.findings else Decision.CLEAR)
        for finding in report.findings:
            x1, y1, x2, y2 = (int(v) for v in finding.box_xyxy)
            assert finding.mask[y1:y2, x1:x2].sum() == finding.mask.sum()


def test_a_score_that_ties_with_the_benign_one_below_the_threshold_is_not_called(tiny_model, scans):
    """A threshold is one float64 step above the last benign score; scores are float32."""
    screener, scan = Screener.load(tiny_model), read_scan(scans[0])
    scores = screener.screen(scan).scores["0"]
    highest = float(scores.max())
    point = choose_operating_point(np.zeros(40), np.full(40, highest), 0.05, "val")
    screener.point = point
    assert point.threshold > highest
    assert float(np.float32(point.threshold)) == highest, "or this would test nothing"
    assert screener.screen(scan).decision is Decision.CLEAR
    screener.point = replace(point, threshold=highest)
    assert screener.screen(scan).decision is Decision.ALARM


@pytest.mark.parametrize("order", [("blank", "good"), ("good", "blank")])
def test_a_view_that_cannot_be_judged_does_not_keep_the_other_from_being_judged(
    tiny_model, scans, order
):
    good = read_scan(scans[0]).views[0]
    views = {
        "good": replace(good, view_id="good"),
        "blank": replace(good, view_id="blank", pixels=np.full_like(good.pixels, 0.5)),
    }
    report = Screener.load(tiny_model).screen(Scan("a", tuple(views[name] for name in order)))
    assert report.decision is Decision.REVIEW
    assert list(report.scores) == ["good"]


def test_the_bar_is_found_more_often_than_not(tiny_model, yolo_root):
    screener = Screener.load(tiny_model)
    found = 0
    paths = sorted((yolo_root / "images").iterdir())
    for path in paths:
        _, x, y, _, _ = map(float, (yolo_root / "labels" / f"{path.stem}.txt").read_text().split())
        report = screener.screen(read_scan(path))
        best = report.scores["0"].argmax()
        rows, cols = np.nonzero(report.regions["0"] == best)
        found += abs(cols.mean() / 128 - x) < 0.15 and abs(rows.mean() / 96 - y) < 0.15
    assert found >= 0.6 * len(paths)


def test_the_same_scan_gives_the_same_report_whatever_came_before(tiny_model, scans):
    screener = Screener.load(tiny_model)
    scan = read_scan(scans[0])
    first = report_row(screener.screen(scan), scan)
    screener.screen(read_scan(scans[1]))
    again = report_row(screener.screen(scan), scan)
    first.pop("timings"), again.pop("timings")
    assert first == again


def test_no_threshold_no_screener(tiny_model):
    model = Model.load(tiny_model)
    model.operating_point = None
    with pytest.raises(ModelError, match="bagscan calibrate"):
        Screener(model)


@pytest.mark.parametrize(
    ("scan", "code"),
    [
        (scan_of(np.full((3, 64, 64), 0.5)), "blank"),
        (scan_of(np.random.default_rng(0).random((3, 8, 8))), "too_small"),
        (scan_of(np.random.default_rng(0).random((3, 40, 500))), "too_small"),
        (scan_of(np.random.default_rng(0).random((3, 64, 64)) * 255), "out_of_range"),
        (
            scan_of(np.random.default_rng(0).random((3, 64, 64)), quantity="transmission"),
            "wrong_channels",
        ),
    ],
)
def test_what_is_no_bag_is_reviewed_never_cleared(tiny_model, scan, code):
    report = Screener.load(tiny_model).screen(scan)
    assert report.decision is Decision.REVIEW
    assert report.reasons[0].code == code


def test_scores_that_are_not_numbers_are_reviewed(tiny_model, scans):
    screener = Screener.load(tiny_model)
    for parameter in screener.model.scorer.parameters():
        parameter.data.fill_(float("nan"))
    report = screener.screen(read_scan(scans[0]))
    assert report.decision is Decision.REVIEW
    assert "not finite" in report.reasons[0]


def test_model_folder_comes_back_and_notices_changes(tiny_model, tmp_path):
    model = Model.load(tiny_model)
    model_id = model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    assert again.id == model_id
    assert again.operating_point == OperatingPoint(0.6, "by hand", "val", 0.05, (0.0, 0.1))
    weights = tmp_path / "m" / "weights.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(bytes(changed))
    with pytest.raises(ModelError, match="altered"):
        Model.load(tmp_path / "m")
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "SHA256SUMS").write_text("garbage")
    with pytest.raises(ModelError, match="not a list of hashes"):
        Model.load(tmp_path / "garbage")
    weights.unlink()
    with pytest.raises(ModelError, match="missing"):
        Model.load(tmp_path / "m")
    with pytest.raises(ModelError, match="bagscan train"):
        Model.load(tmp_path)


def test_a_save_that_fails_leaves_the_model_that_was_there(tiny_model, tmp_path, monkeypatch):
    model = Model.load(tiny_model)
    folder = tmp_path / "m"
    before = model.save(folder)
    write, written = Path.write_bytes, []

    def full_disk(self, content):
        if len(written) == 1:
            raise OSError(28, "No space left on device")
        written.append(self)
        return write(self, content)

    model.about["note"] = "changed"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full_disk)
        with pytest.raises(OSError, match="No space"):
            model.save(folder)
    assert Model.load(folder).id == before
    assert sorted(path.name for path in folder.iterdir()) == [
        "MODEL_CARD.md",
        "SHA256SUMS",
        "model.json",
        "weights.safetensors",
    ]
    (folder / "model.json").write_text("")  # of an older bagscan that was killed
    assert model.save(folder) != before
    assert Model.load(folder).about["note"] == "changed"


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"about": None}, "a mapping"),
        ({"about": ...}, "lacks about"),
        ({"operating_point": ...}, "lacks operating_point"),
    ],
)
def test_a_description_that_lacks_something_is_told(tiny_model, tmp_path, change, answer):
    Model.load(tiny_model).save(tmp_path / "m")
    description = json.loads((tmp_path / "m" / "model.json").read_text()) | change
    (tmp_path / "m" / "model.json").write_text(
        json.dumps({key: value for key, value in description.items() if value is not ...})
    )
    write_files(tmp_path / "m", {})
    with pytest.raises(ModelError, match=answer):
        Model.load(tmp_path / "m")


class Page(HTMLParser):
    """Collects the resources that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href") and value]


def test_screen_command_writes_all_three_and_goes_on_past_bad_files(tiny_model, scans, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nonsense")
    out = tmp_path / "out"
    result = run(
        app,
        [
            "screen",
            *map(str, scans),
            str(bad),
            "--model",
            str(tiny_model),
            "--out",
            str(out),
            "--json",
        ],
    )
    assert result.exit_code == 3, result.output
    reports = json.loads((out / "findings.json").read_text())
    assert len(reports) == len(scans) + 1
    screener = Screener.load(tiny_model)
    for path, got in zip(scans, reports, strict=False):
        scan = read_scan(path)
        expected = json.loads(json.dumps(report_row(screener.screen(scan), scan)))
        expected.pop("timings"), got.pop("timings")
        assert got == expected  # the library's findings, bit for bit
    assert (reports[-1]["path"], reports[-1]["decision"]) == (str(bad), "REVIEW")
    assert str(bad) in reports[-1]["error"]
    images = read_coco(out / "findings.coco.json")
    assert [len(i.annotations) for i in images] == [len(r["findings"]) for r in reports[:-1]]
    assert [(out / i.file_name).resolve() for i in images] == [scan.resolve() for scan in scans], (
        "relative to the file, wherever it was screened"
    )
    entries = json.loads((out / "findings.coco.json").read_text())["annotations"]
    assert [e["area"] for e in entries] == [
        float(a.mask.area) for i in images for a in i.annotations
    ]
    assert not (out / "partial").exists()
    page = Page()
    text = (out / "report.html").read_text()
    page.feed(text)
    assert text.count('<section id="') == len(scans) + 1
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in page.fetched)
    assert "script" not in page.tags
    assert "bad.png" in text
    assert not re.search(r"https?://", text)


def test_scans_of_one_name_keep_their_own_findings(tiny_model, scans, tmp_path):
    for name, source in (("x", scans[0]), ("y", scans[1])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bag.png").write_bytes(source.read_bytes())
    screen_folder([tmp_path / "x", tmp_path / "y"], [tiny_model], tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert [row["path"] for row in rows] == [
        str(tmp_path / "x" / "bag.png"),
        str(tmp_path / "y" / "bag.png"),
    ]
    assert len({row["sha256"] for row in rows}) == 2
    assert (
        len({image.file_name for image in read_coco(tmp_path / "out" / "findings.coco.json")}) == 2
    )


def test_the_warning_of_a_model_is_printed_and_stands_in_the_report(
    tiny_model, scans, tmp_path, caplog
):
    model = Model.load(tiny_model)
    model.about["warning"] = "not for real scanners"
    model.save(tmp_path / "model")
    for name, expected in (("model", True), (tiny_model, False)):
        caplog.clear()
        with caplog.at_level("WARNING", logger="bagscan"):
            screen_folder(scans[:1], [tmp_path / name], tmp_path / f"out{expected}")
        assert ("not for real scanners" in caplog.text) is expected
        report = (tmp_path / f"out{expected}" / "report.html").read_text()
        assert ("Not for real scanners" in report) is expected


def test_a_killed_screening_goes_on_where_it_stopped(tiny_model, scans, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    screen_folder(scans, [tiny_model], whole)
    screen_bag, seen_scans = folder._screen_bag, []

    def killed_after_two(screeners, *rest):
        if len(seen_scans) == 2:
            raise KeyboardInterrupt
        seen_scans.append(rest[0])
        screen_bag(screeners, *rest)

    monkeypatch.setattr(folder, "_screen_bag", killed_after_two)
    with pytest.raises(KeyboardInterrupt):
        screen_folder(scans, [tiny_model], broken)
    monkeypatch.setattr(folder, "_screen_bag", lambda *a: (seen_scans.append(a[1]), screen_bag(*a)))
    screen_folder(scans, [tiny_model], broken)
    assert seen_scans == [{"0": scan} for scan in scans]  # none twice, none left out
    rows = [json.loads((out / "findings.json").read_text()) for out in (whole, broken)]
    for row in rows[0] + rows[1]:
        row.pop("timings")
    assert rows[0] == rows[1]


def test_time_left_is_told_from_the_second_bag_on():
    """The first bag waits for models and kernels."""
    assert folder._left(elapsed_s=0.0, done=0, to_do=9) == ""
    assert folder._left(elapsed_s=10.0, done=2, to_do=4) == ", 20 s left"


def test_a_long_report_shows_alarms_first_and_says_how_many(
    tiny_model, scans, tmp_path, monkeypatch
):
    monkeypatch.setattr(folder, "MAX_IN_PAGE", 1)
    tally = screen_folder(scans, [tiny_model], tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    assert f"{len(scans)} bags: {tally['ALARM']} ALARM" in text
    assert "shows the 1 most urgent" in text
    assert text.count('<section id="') == 1
    assert 'class="tag CLEAR"' not in text or tally["ALARM"] == 0


def two_bags(folder, scans):
    """Two bags of two views; the second picture is the side of the first and both of the second."""
    folder.mkdir()
    for name, source in (("7_below", 0), ("7_side", 1), ("8_below", 1), ("8_side", 1)):
        (folder / f"{name}.png").write_bytes(scans[source].read_bytes())
    return read_scan(scans[1]).views[0].pixels


def test_what_was_not_examined_is_never_clear(tiny_model, scans, tmp_path, monkeypatch):
    """For example no item is found in one view of the first bag, and in both of the second."""
    nothing = two_bags(tmp_path / "scans", scans)
    examine = Model.examine

    def finds_none_in_one(self, views):
        blind = Examined(np.full(nothing.shape[1:], -1, np.int32), np.zeros(0))
        return [
            blind if np.array_equal(view.pixels, nothing) else examine(self, [view])[0]
            for view in views
        ]

    monkeypatch.setattr(Model, "examine", finds_none_in_one)
    tally = screen_folder([tmp_path / "scans"], [tiny_model], tmp_path / "out")
    assert (tally["REVIEW"], tally["reasons"]) == (2, {"nothing_examined": 3})
    first, second = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert (first["views"]["below"]["n_regions"], first["views"]["side"]["n_regions"]) == (
        first["n_regions"],
        0,
    )
    assert (second["decision"], second["n_regions"], second["reason_codes"]) == (
        "REVIEW",
        0,
        ["nothing_examined"] * 2,
    )
    assert (tmp_path / "out" / "report.html").read_text().count(
        "<code>nothing_examined</code>"
    ) == 3


def test_where_no_item_is_found_the_whole_view_is_examined(
    tiny_model, scans, tmp_path, monkeypatch
):
    nothing = two_bags(tmp_path / "scans", scans)
    examine, everywhere = Model.examine, Model.everywhere

    def no_items(self, views):
        if self.id == "everywhere":
            return examine(self, views)
        return [Examined(np.full(nothing.shape[1:], -1, np.int32), np.zeros(0)) for _ in views]

    def all_of_it(self):
        other = everywhere(self)
        other = Model.with_regioner(other, other.config.regioner)
        other.id = "everywhere"
        return other

    monkeypatch.setattr(Model, "examine", no_items)
    monkeypatch.setattr(Model, "everywhere", all_of_it)
    report = Screener.load(tiny_model).screen(read_scan(scans[0]))
    assert report.decision is not Decision.REVIEW
    assert len(report.scores["0"]) > 0
    assert "the whole view was scored" in report.notes[0]


def test_a_bag_whose_scanner_makes_two_views_is_review_with_one(tiny_model, scans, tmp_path):
    """The number of views per scanner is taken from the folder if it is not given."""
    two_bags(tmp_path / "scans", scans)

    def codes(paths, *scanner_views):
        tally = screen_folder(paths, [tiny_model], tmp_path / "out", scanner_views=scanner_views)
        return tally["reasons"], tally["REVIEW"]

    assert codes([tmp_path / "scans"]) == ({}, 0)
    (tmp_path / "scans" / "8_side.png").unlink()
    assert codes([tmp_path / "scans"]) == ({"missing_view": 1}, 1)
    (tmp_path / "scans" / "7_side.png").unlink()
    assert codes([tmp_path / "scans"]) == ({"missing_view": 2}, 2), "called as one of two"
    assert codes([tmp_path / "scans"], "below", "side") == ({"missing_view": 2}, 2)
    answer = run(
        app,
        [
            "screen",
            str(tmp_path / "scans"),
            "--model",
            str(tiny_model),
            "--out",
            str(tmp_path / "o"),
            "--fail-on-alarm",
            "--scanner-views",
            "below,side",
        ],
    )
    assert answer.exit_code == 4


def test_two_screenings_into_one_folder_do_not_mix(tiny_model, scans, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with lock_folder(out), pytest.raises(DataError):
        screen_folder(scans[:1], [tiny_model], out)
    screen_folder(scans[:1], [tiny_model], out)
    with pytest.raises(ConfigError):  # another set's results stay
        screen_folder(scans[1:2], [tiny_model], out)
    screen_folder(scans[:2], [tiny_model], out)


def test_alarms_come_first_in_the_report(tiny_model, scans, tmp_path, monkeypatch):
    order = iter([Decision.CLEAR, Decision.ALARM])
    screen_bag = folder.screen_files

    def decided(*arguments):
        found = screen_bag(*arguments)
        found.row["decision"] = next(order).value
        return found

    monkeypatch.setattr(folder, "screen_files", decided)
    screen_folder(scans[:2], [tiny_model], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.index(f"<h2>{scans[1].stem}</h2>") < page.index(f"<h2>{scans[0].stem}</h2>")


def test_rows_count_the_regions_that_were_judged(tiny_model, scans, tmp_path):
    scan = read_scan(scans[0])
    report = Screener.load(tiny_model).screen(scan)
    assert report_row(report, scan)["n_regions"] == sum(map(len, report.scores.values())) > 0


def test_rows_that_an_earlier_version_left_are_taken(tiny_model, scans, tmp_path, monkeypatch):
    """A killed run of a version that counted no regions."""
    earlier = folder.screen_files

    def without(*arguments):
        found = earlier(*arguments)
        found.row.pop("reason_codes", None)
        return found

    monkeypatch.setattr(folder, "screen_files", without)
    tally = screen_folder(scans, [tiny_model], tmp_path / "out")
    assert (tally["scans"], tally["reasons"]) == (len(scans), {})


def test_fail_on_alarm(tiny_model, scans, tmp_path):
    alarms = run(
        app,
        [
            "screen",
            str(scans[0]),
            "--model",
            str(tiny_model),
            "--out",
            str(tmp_path / "a"),
            "--fail-on-alarm",
        ],
    )
    decision = Screener.load(tiny_model).screen(read_scan(scans[0])).decision
    assert alarms.exit_code == (1 if decision is Decision.ALARM else 0)


def test_help_answers_at_once():
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])  # noqa: E731 — CPU seconds: a busy machine takes longer
    before = spent()
    answer = subprocess.run(
        [str(Path(sys.executable).with_name("bagscan")), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "screen" in answer.stdout
    assert spent() - before < 3  # half a second


def test_without_torch_the_command_line_says_what_to_install(tiny_config):
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['bagscan', *sys.argv[1:]]; "
        "from bagscan.cli import main; main()"
    )
    doctor = subprocess.run(
        [sys.executable, "-c", code, "doctor"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert doctor.returncode == 0, doctor.stderr
    train = subprocess.run(
        [sys.executable, "-c", code, "train", str(tiny_config)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert train.returncode == 2
    assert how_to_install("train") in train.stderr
    assert "Traceback" not in train.stderr


def test_another_split_is_warned_of_and_recorded(tiny_config, tiny_model, tmp_path):
    Model.load(tiny_model).save(tmp_path / "run" / "model")
    folder = str(tmp_path / "run" / "model")
    out = tmp_path / "results.json"
    result = run(
        app,
        [
            "evaluate",
            str(tiny_config),
            "--model",
            folder,
            "--out",
            str(out),
            "--set",
            "data.seed=5",
        ],
    )
    assert "trained with another split" in result.output
    assert any("another split" in note for note in json.loads(out.read_text())["notes"])
    with pytest.raises(DataError, match=r"made with data\.seed=5"):
        run(app, ["evaluate", str(tiny_config), "--model", folder], catch_exceptions=False)


def test_calibrate_then_evaluate(tiny_config, tiny_model, tmp_path):
    model = Model.load(tiny_model)
    model.save(tmp_path / "run" / "model")
    folder = str(tmp_path / "run" / "model")
    result = run(app, ["calibrate", str(tiny_config), "--model", folder, "--max-fpr", "0.1"])
    assert result.exit_code == 0, result.output
    point = Model.load(folder).operating_point
    assert point.chosen_on_split == "val"
    assert point.expected_fpr <= 0.1
    result = run(app, ["evaluate", str(tiny_config), "--model", folder])
    assert result.exit_code == 0, result.output
    assert "within bag" in result.output
    record = json.loads((tmp_path / "run" / "results.json").read_text())
    assert record["results"]["within_bag"]["all"]["darkness"]["auroc"] is not None
    assert "trivial_baseline" in record["results"]["per_scan"]


def test_the_same_model_on_other_regions(tiny_config, tiny_model, tmp_path):
    model = Model.load(tiny_model)
    cells = model.with_regioner({"name": "grid", "cell_px": 16})
    assert cells.encoder is model.encoder
    assert cells.operating_point is None
    assert model.operating_point is not None
    assert model.config.regioner["name"] == "ssn"
    out = tmp_path / "cells.json"
    result = run(
        app,
        [
            "evaluate",
            str(tiny_config),
            "--model",
            str(tiny_model),
            "--out",
            str(out),
            "--regioner",
            "{name: grid, cell_px: 16}",
        ],
    )
    assert result.exit_code == 0, result.output
    record = json.loads(out.read_text())
    assert record["config"]["regioner"]["cell_px"] == 16
    assert record["results"]["operating_point"] is None
    for wrong in ("grid", "{name: gird}", "{name: ["):
        refused = run(
            app, ["evaluate", str(tiny_config), "--model", str(tiny_model), "--regioner", wrong]
        )
        assert isinstance(refused.exception, ConfigError), refused.output


def _source(config):
    """The only source of a configuration, as ``--set`` takes it."""
    (source,) = yaml.safe_load(config.read_text())["data"]["sources"]
    return json.dumps(source)


def test_a_simulated_set_is_told_by_its_devices_not_by_scanners(tiny_config, simulated_root):
    answer = run(
        app,
        [
            "data",
            "check",
            str(tiny_config),
            "--set",
            f"data.sources=[{{format: simulated, root: {simulated_root}}}]",
        ],
    ).stdout
    assert re.search(r"devices: phone \d+", answer)
    assert "scanners" not in answer


def test_data_check_and_doctor(tiny_config):
    checked = json.loads(run(app, ["data", "check", str(tiny_config), "--read", "--json"]).stdout)
    assert checked["datasets"][0]["scans"] == 24
    without = (
        "import sys; sys.modules['torch'] = None; from bagscan.cli import app; "
        f"app(['data', 'check', {str(tiny_config)!r}, '--json'])"
    )
    assert (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", without], capture_output=True, text=True, check=True
            ).stdout
        )["datasets"][0]["scans"]
        == 24
    )
    nothing = run(app, ["data", "check", "--preset", "ssn_bsds500"])
    assert "section data" in str(nothing.exception)
    lacking = run(
        app,
        [
            "data",
            "check",
            str(tiny_config),
            "--json",
            "--set",
            "data.sources=[{format: simulated, root: nowhere}, " + _source(tiny_config) + "]",
        ],
    )
    assert lacking.exit_code == 2
    answer = json.loads(lacking.stdout)
    assert [one["scans"] for one in answer["datasets"]] == [24]
    assert "nowhere: no simulated dataset" in answer["lacking"][0]
    assert json.loads(run(app, ["doctor", "--json"]).stdout)["parts"]["regions"] == [
        "whole_image",
        "grid",
        "slic",
        "ssn",
        "mask_rcnn",
        "faster_rcnn",
        "sub_components",
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("loop.step=3", "did you mean 'steps'"),
        ("training.batch_size=many", "must be int"),
        ("model.regioner.name=sssn", "did you mean 'ssn'"),
        ("training.mode=both", "two_stage"),
        ("data.sources=3", "must be a list"),
        ("training.mu=[1", "not YAML"),
        ("loop.stepz=3", "--set, over .*did you mean 'steps'"),
        ("loop.steps=0", "at least 1"),
        ("loop.validate_every=0", "at least 1"),
        ("loop.optimizer=adam", "adamw or sgd"),
        ("loop.ema=2", "ema"),
        ("training.batch_size=0", "at least 1"),
        ("training.positive_from=7", "positive_from"),
        ("training.augment.crop_px=0", "at least 16"),
        ("training.augment.scale=[0, 1]", "ascending"),
        ("model.regioner.n_superpixels=0", "at least 1"),
        ("model.input.std=[0, 0, 0]", "above 0"),
        ("data.sources.3.limit=1", "index 3"),
    ],
)
def test_wrong_settings_name_the_nearest(tiny_config, setting, message, tmp_path):
    from bagscan.training.experiment import read_experiment, train

    with pytest.raises(ConfigError, match=message):
        train(read_experiment(tiny_config, [setting]), tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "cannot be read"),
        (b"kind: [1]", "kind"),
        (b"- a", "expected a mapping"),
    ],
)
def test_a_file_that_is_no_configuration_is_told(tmp_path, content, answer):
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"bad.yaml: {answer}"):
        read_experiment(tmp_path / "bad.yaml")


def test_unknown_key_names_file_and_line(tiny_config):
    from bagscan.training.experiment import read_experiment

    tiny_config.write_text(tiny_config.read_text().replace("  batch_size: 2", "  batchsize: 2"))
    with pytest.raises(
        ConfigError,
        match=r"tiny\.yaml:12: .*'training\.batchsize'.*'batch_size'",
    ):
        read_experiment(tiny_config)


def test_outline_encloses_the_mask_and_labels_upsample_to_centres():
    mask = np.zeros((20, 30), bool)
    mask[5:10, 8:20] = True
    polygon = outline(mask, (8, 5, 20, 10))
    assert polygon.min(0).tolist() == pytest.approx([8, 5], abs=0.6)
    assert polygon.max(0).tolist() == pytest.approx([20, 10], abs=0.6)
    assert (
        len(polygon) <= 9
    )  # straight stretches have no points between their ends: a whole image has 9, not thousands
    assert polygon[0].tolist() == polygon[-1].tolist()
    assert (
        upsample_labels(np.array([[0, 1], [2, 3]]), 4, 6).tolist()
        == [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2
    )


def test_nothing_to_screen_is_an_error(tiny_model, tmp_path):
    from bagscan.reporting.folder import screen_folder

    with pytest.raises(ReadError, match="no scans"):
        screen_folder([tmp_path], [tiny_model], tmp_path / "out")


def test_the_model_that_comes_along_screens_simulated_bags(simulated_root, tmp_path):
    """Without --model: the bundled one, with matrices in 16 bits and its operating point."""
    ids = {}
    for place in shipped_models():
        shipped = load_model(place)
        weights = [
            v for v in load_file(place / "weights.safetensors").values() if v.dtype.kind == "f"
        ]
        assert {v.dtype for v in weights if v.ndim > 1} == {np.dtype("float16")}
        assert all(np.isfinite(v).all() for v in weights)
        assert (place / "weights.safetensors").stat().st_size < 12e6
        assert shipped.operating_point
        ids[place.name] = shipped.id
    images = {"colour": "prohibited", "raw": "raw"}  # model that screens them by default
    run = CliRunner().invoke(
        app,
        ["screen", *(str(simulated_root / i) for i in images), "--out", str(tmp_path), "--json"],
    )
    assert run.exit_code == 0, run.output
    # Twelve bags of two views, in the images of every model.
    assert sum(json.loads(run.stdout)[k] for k in ("ALARM", "CLEAR")) == 12 * len(images)
    screened_by = {
        (Path(row["path"]).parent.name, row["model_id"])
        for row in json.loads((tmp_path / "findings.json").read_text())
    }
    assert screened_by == {(image, ids[name]) for image, name in images.items()}
    report = (tmp_path / "report.html").read_text()
    assert all(model_id in report for _, model_id in screened_by)


def test_half_weights_come_back_as_they_were_stored(tiny_model, tmp_path):
    model = Model.load(tiny_model)
    model.half_weights = True
    model.save(tmp_path / "half")
    again = Model.load(tmp_path / "half")
    assert again.half_weights
    again.save(tmp_path / "twice")
    assert (tmp_path / "half" / "weights.safetensors").read_bytes() == (
        tmp_path / "twice" / "weights.safetensors"
    ).read_bytes()
    for name, value in model.state_dict().items():
        assert torch.allclose(value.float(), again.state_dict()[name].float(), rtol=1e-3, atol=1e-3)


def test_two_views_of_a_bag_get_one_decision(tiny_model, scans, tmp_path):
    for name, source in (("7_below", scans[0]), ("7_side", scans[1]), ("8", scans[2])):
        (tmp_path / f"{name}.png").write_bytes(source.read_bytes())
    screen_folder([tmp_path], [tiny_model], tmp_path / "out")
    bag, alone = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert (bag["scan_id"], alone["scan_id"]) == ("7", "8")
    assert set(bag["views"]) == {"below", "side"}
    assert bag["views"]["side"]["path"].endswith("7_side.png")
    single = [
        report_row(
            Screener.load(tiny_model).screen(read_scan(tmp_path / f"7_{v}.png")),
            read_scan(tmp_path / f"7_{v}.png"),
        )
        for v in ("below", "side")
    ]
    assert sorted(f["score"] for f in bag["findings"]) == sorted(
        f["score"] for row in single for f in row["findings"]
    )
    assert bag["decision"] == (
        "ALARM" if any(row["decision"] == "ALARM" for row in single) else "CLEAR"
    )
    names = [image.file_name for image in read_coco(tmp_path / "out" / "findings.coco.json")]
    assert len(set(names)) == 3
    tally = screen_folder([tmp_path], [tiny_model], tmp_path / "apart", views=())
    assert tally["scans"] == 3


def test_a_bag_of_which_a_view_is_broken_is_never_clear(tiny_model, scans, tmp_path):
    (tmp_path / "7_below.png").write_bytes(scans[0].read_bytes())
    (tmp_path / "7_side.png").write_bytes(scans[1].read_bytes()[:200])
    tally = screen_folder([tmp_path], [tiny_model], tmp_path / "out")
    (row,) = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert row["decision"] == "REVIEW"
    assert "7_side.png" in row["error"]
    assert set(row["views"]) == {"below"}  # readable views are scored and shown
    assert len(tally["errors"]) == 1


def test_calibrated_scores_are_kept_with_the_model_and_change_no_order(tiny_model, tmp_path):
    model = Model.load(tiny_model)
    embeddings = torch.randn(50, model.encoder.dim)
    raw = model.score(embeddings)
    model.calibration = (0.5, -1.0)
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    assert again.calibration == (0.5, -1.0)
    answer = again.score(embeddings)
    assert np.array_equal(np.argsort(raw), np.argsort(answer))
    assert answer == pytest.approx(1 / (1 + np.exp(1) * np.sqrt((1 - raw) / raw)), abs=1e-5)
