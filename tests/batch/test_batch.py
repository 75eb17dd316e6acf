"""Archives: nothing is lost or duplicated, and the bytes are the same after any failure."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from bagscan.batch.index import count_index, read_index
from bagscan.batch.pool import Pool
from bagscan.batch.rows import flat_row, write_part
from bagscan.batch.run import ABOUT, BatchConfig, _stamp, only_run, prepare, screen_archive
from bagscan.batch.task import score_bag
from bagscan.cli import app
from bagscan.core.errors import ConfigError, DataError, ReadError, UnavailableError
from bagscan.formats import find_scans
from bagscan.model_folder import read_description, shipped_models, verified_id, warning_of
from bagscan.reporting.findings import error_row
from bagscan.workers.tasks import answer_or_error
from tests.batch.stubs import dies_while_it_loads, screen_by_name


def archive(folder, count, name=lambda n: f"{n:05d}.tif"):
    """Empty files stand for scans: the stand-in looks at names alone."""
    (folder / "scans").mkdir(parents=True)
    for n in range(count):
        (folder / "scans" / name(n)).write_bytes(b"x")
    return folder / "scans"


def run(source, out, target=screen_by_name, **settings):
    config = BatchConfig(**{"part_size": 20, "timeout_s": 5.0, **settings})
    prepare([source], shipped_models(), out, config)
    return screen_archive(out, config, Pool(shipped_models(), config, target))


def rows(out):
    return ds.dataset(sorted(map(str, out.glob("part-*.parquet")))).to_table().to_pylist()


def bytes_of(out):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.glob("part-*.parquet"))
    }


def test_every_bag_has_one_row_in_order(tmp_path):
    source = archive(tmp_path, 50)
    result = run(source, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [row["number"] for row in found] == list(range(50))
    assert [row["bag"] for row in found] == [f"{n:05d}" for n in range(50)]
    assert result["ALARM"] + result["CLEAR"] == result["bags"] == 50
    assert result["runtime"].startswith("onnxruntime ")
    assert len(bytes_of(tmp_path / "out")) == 3
    assert found[0]["findings"] == [] or found[0]["findings"][0]["box_xyxy"] == [1, 2, 3, 4]


def test_a_run_keeps_to_the_runtime_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("BAGSCAN_RUNTIME", raising=False)
    source, models = archive(tmp_path, 3), shipped_models()
    prepare([source], models, tmp_path / "out", BatchConfig(runtime="openvino"))
    about = json.loads((tmp_path / "out" / ABOUT).read_text())
    assert all(name.startswith("openvino ") for name in about["runtimes"])
    with pytest.raises(ConfigError):
        prepare([source], models, tmp_path / "out", BatchConfig(runtime="onnxruntime"))
    monkeypatch.setenv("BAGSCAN_RUNTIME", "openvino")
    prepare([source], models, tmp_path / "out", BatchConfig())


def test_the_warnings_of_models_are_printed(tmp_path, said):
    prepare([archive(tmp_path, 3)], shipped_models(), tmp_path / "out", BatchConfig())
    warnings = [
        warning
        for folder in shipped_models()
        if (warning := warning_of(read_description(folder)["about"]))
    ]
    assert [m.partition(": ")[2] for m in said if m.endswith(tuple(warnings))] == warnings != []


def test_a_second_run_says_what_is_judged_already(tmp_path, said):
    source = archive(tmp_path, 50)
    run(source, tmp_path / "out")
    (tmp_path / "out" / "part-00001.parquet").unlink()
    run(source, tmp_path / "out")
    assert "30 of 50 bags are screened already" in said
    assert len((tmp_path / "screened_bags").read_text().split()) == 70


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_writes_the_same_bytes(tmp_path, workers):
    source = archive(tmp_path, 45)
    run(source, tmp_path / "one", workers=1)
    run(source, tmp_path / "more", workers=workers)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "more")


def test_a_fifth_corrupt_and_some_that_hang_are_survived_with_exact_counts(tmp_path, said):
    def name(n):
        kind = "corrupt" if n % 5 == 0 else "hang" if n % 20 == 7 else "die" if n == 33 else "sound"
        return f"{n:03d}_{kind}.tif"

    source = archive(tmp_path, 60, name)
    result = run(source, tmp_path / "out", workers=3, timeout_s=0.5)
    found = rows(tmp_path / "out")
    assert result["errors"] == 12 + 3 + 1
    assert result["ALARM"] + result["CLEAR"] == 60 - 16
    assert all(row["decision"] == "REVIEW" for row in found if row["error"])
    assert {row["bag"].split("_")[1] for row in found if row["error"]} == {"corrupt", "hang", "die"}
    assert "no answer within" in next(row["error"] for row in found if "hang" in row["bag"])
    assert sorted((tmp_path / "screened_bags").read_text().split()) == [
        name(n) for n in range(60) if "sound" in name(n)
    ]
    assert sum(line.startswith("REVIEW: ") for line in said) == 10
    assert any("further errors are in the column error" in line for line in said)
    assert any(line.startswith("60 of 60 bags") for line in said)


SCRIPT = """
import sys
from pathlib import Path
from tests.batch.test_batch import run
from tests.batch.stubs import dies_while_it_loads, screen_by_name
if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), workers=2)
"""


@pytest.mark.slow
def test_kill_9_loses_nothing_and_judges_nothing_twice(tmp_path):
    source = archive(tmp_path, 200, lambda n: f"{n:05d}_slow.tif")
    run(source, tmp_path / "whole")
    (tmp_path / "screened_bags").unlink()
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    kills = 0
    log = tmp_path / "screened_bags"
    for n in range(40):
        before = log.stat().st_size if log.exists() else 0
        started = subprocess.Popen(
            [sys.executable, str(tmp_path / "script.py"), str(source), str(tmp_path / "killed")],
            env=environment,
            start_new_session=True,
        )
        while (
            started.poll() is None and (log.stat().st_size if log.exists() else 0) == before
        ):  # it is scoring: the machine may be slow to start it
            time.sleep(0.01)
        time.sleep(0.05 + 0.13 * n)
        if started.poll() is not None:
            assert started.returncode == 0
            break
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        kills += 1
    assert kills >= 1
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")
    seen_scans = (tmp_path / "screened_bags").read_text().split()
    assert set(seen_scans) == {f"{n:05d}_slow.tif" for n in range(200)}
    # A bag that was scored but not yet written at a kill is scored again, and written once.
    # That is a bag or two per worker, and more if the machine is busy and answers wait.
    assert len(seen_scans) <= 200 + 10 * kills


def test_a_torn_line_of_the_ledger_counts_for_nothing(tmp_path):
    from bagscan.batch.ledger import Ledger

    ledger = Ledger(tmp_path / "ledger" / "part.jsonl")
    ledger.add({"row": {"number": 1}})
    ledger.path.write_text(ledger.path.read_text() + '{"row": {"numb')
    assert list(ledger.read()) == [1]
    ledger.add({"row": {"number": 2}})
    assert list(ledger.read()) == [1, 2]
    ledger.path.write_text(
        '{"row": {"number": 1}}\n\0\0\0\n{"row": {"number": 3}}\n'
    )  # a power cut may leave this
    assert list(ledger.read()) == [1, 3]
    for torn in (b"\xff\xfe\n", b"123\n", b"null\n", b"{}\n", b'{"row": {}}\n', b'{"row"'):
        ledger.path.write_bytes(b'{"row": {"number": 1}}\n' + torn)
        assert list(ledger.read()) == [1]
        ledger.add({"row": {"number": 2}})
        assert list(ledger.read()) == [1, 2]


def test_a_file_that_changed_since_is_judged_again(tmp_path, monkeypatch):
    """The part is in progress: a kill came after all scoring and before any writing."""
    source = archive(tmp_path, 30)
    config = BatchConfig(part_size=100)
    prepare([source], shipped_models(), tmp_path / "out", config)
    from bagscan.batch import run as batch_run

    def killed(*_):
        raise KeyboardInterrupt

    pool = Pool(shipped_models(), config, screen_by_name)
    bags = next(iter(read_index(tmp_path / "out" / "_index.arrow", 100)))
    with monkeypatch.context() as patch:
        patch.setattr(batch_run, "write_part", killed)
        with pytest.raises(KeyboardInterrupt):
            batch_run.screen_part(tmp_path / "out", 0, bags, config, pool)
    (source / "00007.tif").write_bytes(b"more")

    class ChangesMeanwhile:
        def screen(self, todo):
            for answer in pool.screen(todo):
                (source / "00007.tif").write_bytes(b"and more, while it is screened")
                yield answer

    with monkeypatch.context() as patch:
        patch.setattr(batch_run, "write_part", killed)
        with pytest.raises(KeyboardInterrupt):
            batch_run.screen_part(tmp_path / "out", 0, bags, config, ChangesMeanwhile())
    batch_run.screen_part(tmp_path / "out", 0, bags, config, pool)
    seen_scans = (tmp_path / "screened_bags").read_text().split()
    assert len(seen_scans) == 32
    assert seen_scans[-2:] == ["00007.tif", "00007.tif"]
    assert len(rows(tmp_path / "out")) == 30
    pool.stop()


def test_a_worker_that_dies_while_it_loads_takes_its_bag_alone_with_it(tmp_path, monkeypatch):
    monkeypatch.setenv("STUB_STARTS", str(tmp_path / "starts"))
    source = archive(tmp_path, 4, name=lambda n: f"{'die' if n == 0 else 'ok'}_{n}.tif")
    run(source, tmp_path / "out", target=dies_while_it_loads, workers=1)
    found = rows(tmp_path / "out")
    assert len(found) == 4
    assert [bool(row["error"]) for row in sorted(found, key=lambda row: row["path"])] == [
        True,
        False,
        False,
        False,
    ]


def test_a_source_within_another_would_double_its_bags_and_is_refused(tmp_path):
    source = archive(tmp_path, 3)
    for sources in ([source, source], [source.parent, source], [source, source / "00001.tif"]):
        with pytest.raises(ConfigError, match="twice"):
            prepare(sources, shipped_models(), tmp_path / "out", BatchConfig())


def test_another_runs_folder_is_refused(tmp_path):
    source = archive(tmp_path, 5)
    run(source, tmp_path / "out")
    with pytest.raises(ConfigError, match="part_size"):
        run(source, tmp_path / "out", part_size=7)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.tif").write_bytes(b"x")
    with pytest.raises(ConfigError, match="sources"):
        run(tmp_path / "other", tmp_path / "out")
    (tmp_path / "out" / "_batch.json").unlink()
    with pytest.raises(ConfigError, match=r"_batch\.json"):
        run(source, tmp_path / "out")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no scans"):
        run(tmp_path / "none", tmp_path / "empty")
    with pytest.raises(DataError, match="no such file"):
        run(tmp_path / "nowhere", tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_views_of_a_bag_are_one_row_and_folders_are_walked(tmp_path):
    for place in ("a/b", "c"):
        (tmp_path / "scans" / place).mkdir(parents=True)
        for view in ("below", "side"):
            (tmp_path / "scans" / place / f"7_{view}.tif").write_bytes(b"x")
    (tmp_path / "scans" / "notes.txt").write_text("no scan")
    run(tmp_path / "scans", tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [row["bag"] for row in found] == ["7", "7"]
    assert [[view["view_id"] for view in row["views"]] for row in found] == [["below", "side"]] * 2


def test_a_png_set_has_the_name_of_its_scan(tmp_path):
    import numpy as np

    from bagscan.core import View
    from bagscan.formats.images import write_png_set

    (tmp_path / "scans").mkdir()
    write_png_set(
        tmp_path / "scans",
        "7",
        View(np.full((3, 9, 9), 0.5, np.float32), ("low", "high", "zeff"), "dual_energy"),
    )
    run(tmp_path / "scans", tmp_path / "out")
    assert [row["bag"] for row in rows(tmp_path / "out")] == ["7"]


def test_a_whole_simulated_set_in_an_archive_is_refused(simulated_root, tmp_path):
    with pytest.raises(ReadError, match="/raw or "):
        prepare(
            [simulated_root.parent],
            shipped_models(),
            tmp_path / "out",
            BatchConfig(),
        )


def test_others_read_the_parts_as_one_table(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    source = archive(tmp_path, 50)
    result = run(source, tmp_path / "out")
    counted = dict(
        duckdb.sql(
            f"SELECT decision, count(*) FROM '{tmp_path}/out/part-*.parquet' GROUP BY decision"
        ).fetchall()
    )
    assert counted == {name: result[name] for name in ("ALARM", "CLEAR") if result[name]}


def test_the_whole_folder_is_read_as_one_table(tmp_path):
    """The folder holds no other file that looks like Parquet."""
    run(archive(tmp_path, 50), tmp_path / "out")
    assert pq.read_table(tmp_path / "out").num_rows == 50


def test_the_index_does_not_hold_the_archive_in_memory(tmp_path):
    source = archive(tmp_path, 3000)
    config = BatchConfig(part_size=100)
    assert prepare([source], shipped_models(), tmp_path / "out", config) == 3000
    assert count_index(tmp_path / "out" / "_index.arrow") == 3000
    assert max(len(bags) for bags in read_index(tmp_path / "out" / "_index.arrow", 100)) == 100


def test_the_command_line_says_the_same_as_screen(simulated_root, tmp_path):
    """With the bundled models: this fourth path gives the same findings."""
    paths = [
        str(simulated_root / "raw" / f"00000{n}_{view}.tif")
        for n in "ab"
        for view in ("below", "side")
    ]
    folder = tmp_path / "scans"
    folder.mkdir()
    for path in paths:
        (folder / os.path.basename(path)).symlink_to(path)
    (folder / "broken.tif").write_bytes(b"II*\x00 no")
    batch = CliRunner().invoke(
        app, ["batch", str(folder), "--out", str(tmp_path / "out"), "--json"]
    )
    assert batch.exit_code == 3, batch.output
    screened = CliRunner().invoke(app, ["screen", str(folder), "--out", str(tmp_path / "screened")])
    assert screened.exit_code == 3
    by_path = {
        row["path"]: row
        for row in json.loads((tmp_path / "screened" / "findings.json").read_text())
    }
    found = rows(tmp_path / "out")
    assert len(found) == len(by_path) == 3
    for row in found:
        other = by_path[row["path"]]
        assert (row["decision"], row["sha256"], row["model_id"]) == (
            other["decision"],
            other.get("sha256"),
            other.get("model_id"),
        )
        assert [(f["score"], f["mask_counts"]) for f in row["findings"]] == [
            (f["score"], f["mask"]["counts"]) for f in other["findings"]
        ]


def paths_of(sources, out):
    prepare(sources, shipped_models(), out, BatchConfig())
    return [
        [view["path"] for view in bag["views"]]
        for bags in read_index(out / "_index.arrow", 100)
        for bag in bags
    ]


def png_set(folder, name):
    for channel in ("low", "high"):
        (folder / f"{name}_{channel}.png").write_bytes(
            imagecodecs.png_encode(np.full((40, 50), 30_000, np.uint16))
        )


def test_named_files_are_bags_as_those_of_their_folder_are(tmp_path):
    source = archive(tmp_path, 4, lambda n: f"{n // 2}_{('below', 'side')[n % 2]}.tif")
    png_set(source, "7")
    files = sorted(source.iterdir())
    assert paths_of(files, tmp_path / "named") == paths_of([source], tmp_path / "folder")
    assert [len(paths) for paths in paths_of(files, tmp_path / "named")] == [2, 2, 1]
    png_set(source, "8_below")
    (source / "8_below.png").write_bytes(
        b"x"
    )  # a picture with the name of a set: neither replaces the other
    assert len(paths_of([source], tmp_path / "beside")) == 5


def test_one_place_by_two_names_is_no_second_source(tmp_path):
    source = archive(tmp_path, 1)
    with pytest.raises(ConfigError, match="screened twice"):
        prepare(
            [source, f"file://{source}"],
            shipped_models(),
            tmp_path / "out",
            BatchConfig(),
        )
    with pytest.raises(ConfigError, match="screened twice"):
        prepare(
            ["memory://scans", "memory:///scans/"],
            shipped_models(),
            tmp_path / "out",
            BatchConfig(),
        )


def test_any_file_of_a_set_that_changes_is_noticed(tmp_path):
    png_set(tmp_path, "7")
    bag = {"views": [{"view_id": "0", "path": str(tmp_path / "7_low.png")}]}
    before = _stamp(bag)
    assert _stamp(bag) == before
    (tmp_path / "7_high.png").write_bytes(b"torn")
    assert _stamp(bag) != before


def test_a_name_that_is_no_text_is_one_row_and_ends_nothing(tmp_path):
    source = archive(tmp_path, 1)
    (source / os.fsdecode(b"bad\xff.tif")).write_bytes(b"x")
    result = run(source, tmp_path / "out")
    assert result["bags"] == 2
    assert rows(tmp_path / "out")[1]["path"].endswith(r"bad\xff.tif")


def test_a_folder_that_cannot_be_listed_is_not_missed(tmp_path, monkeypatch):
    source = archive(tmp_path, 1)
    (source / "locked").mkdir()
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(ReadError, match=r"locked: .*Permission denied"):
        run(source, tmp_path / "out")
    with pytest.raises(ReadError, match="locked"):
        find_scans([source])


def test_types_that_nothing_reads_are_told(tmp_path, said):
    source = archive(tmp_path, 1)
    (source / "a.xyz").write_bytes(b"x")
    (source / "notes.txt").write_bytes(b"x")
    run(source, tmp_path / "out")
    assert sum("1 file of unknown type skipped (.xyz)" in line for line in said) == 1
    (source / "00000.tif").unlink()
    with pytest.raises(DataError, match=r"\.xyz.*\.bin"):
        run(source, tmp_path / "none")


def test_two_runs_in_one_folder_do_not_judge_the_same(tmp_path):
    source, out, config = archive(tmp_path, 3), tmp_path / "out", BatchConfig(part_size=20)
    line = ["batch", str(source), "--out", str(out), "--part-size", "20", "--index-only"]
    with only_run(out):
        prepare([source], shipped_models(), out, config)
        assert isinstance(CliRunner().invoke(app, line).exception, DataError)
    assert CliRunner().invoke(app, line).exit_code == 0
    assert run(source, out)["bags"] == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no scans"), only_run(tmp_path / "nothing"):
        prepare([tmp_path / "empty"], shipped_models(), tmp_path / "nothing", config)
    assert not (tmp_path / "nothing").exists()


def test_what_is_wrong_around_a_scan_is_never_its_result(tmp_path):
    """The store is gone or a model was replaced: the run stops; the same command continues it."""
    source = archive(tmp_path, 25, lambda n: f"{n:03d}_{'away' if n == 12 else 'sound'}.tif")
    (tmp_path / "outage").touch()
    with pytest.raises(UnavailableError):
        run(source, tmp_path / "out")
    assert not list((tmp_path / "out").glob("part-*"))
    (tmp_path / "outage").unlink()
    assert run(source, tmp_path / "out")["bags"] == 25
    assert {row["decision"] for row in rows(tmp_path / "out")} <= {"ALARM", "CLEAR"}
    assert (tmp_path / "screened_bags").read_text().split().count(
        "003_sound.tif"
    ) == 1  # earlier results are kept


def test_a_model_that_was_replaced_judges_nothing_more(tmp_path, simulated_root):
    path = str(next((simulated_root / "raw").iterdir()))
    views = [{"view_id": "0", "path": path}]
    models = [str(folder) for folder in shipped_models()]
    ids = [verified_id(folder) for folder in models]
    assert answer_or_error(score_bag, models, views, (), ids)["ok"]
    result = answer_or_error(score_bag, models, views, (), [*ids[:-1], "another"])
    assert (result["ok"], result["surroundings"]) == (False, True)


def test_any_error_of_a_task_is_an_answer():
    def fails(error):
        raise error

    for error in (
        OverflowError("inf"),
        KeyError("x"),
        ZeroDivisionError(),
        TypeError("no"),
        OSError(5, "Input/output error"),
        RecursionError(),
    ):
        result = answer_or_error(fails, error)
        assert (result["ok"], result["surroundings"], result["code"]) == (
            False,
            False,
            "model_failed",
        )
    assert answer_or_error(fails, ReadError("torn"))["code"] == "unreadable"


def test_names_that_are_no_text_cost_no_part(tmp_path):
    """For example a surrogate in the name of a view, which Arrow refuses."""
    row = error_row(Path("a\udcff.npz"), "broken \ud800") | {
        "views": {"\ud800": {"height": 8, "width": 8}}
    }
    write_part(tmp_path / "part.parquet", [flat_row(0, "a\udcff", row, None)])
    (read,) = pq.read_table(tmp_path / "part.parquet").to_pylist()
    assert (read["decision"], read["reason_codes"]) == ("REVIEW", ["unreadable"])


@pytest.mark.parametrize("out", ["s3://bucket/x", "memory://x", "file:///tmp/x"])
def test_results_are_not_written_to_an_address(tmp_path, out):
    with pytest.raises(ConfigError, match="--to copies"):
        prepare([archive(tmp_path, 1)], shipped_models(), Path(out), BatchConfig())


def test_a_folder_with_a_colon_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(archive(tmp_path, 1), Path("mem:out"))["bags"] == 1


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(timeout_s):
    with pytest.raises(ConfigError, match="timeout"):
        BatchConfig(timeout_s=timeout_s)


def test_a_damaged_part_is_named_and_can_be_made_again(tmp_path):
    source, out = archive(tmp_path, 3), tmp_path / "out"
    run(source, out)
    before = bytes_of(out)
    part = out / "part-00000.parquet"
    whole = part.read_bytes()
    part.write_bytes(
        whole[:4]
        + bytes(byte ^ 255 for byte in whole[4 : len(whole) // 2])
        + whole[len(whole) // 2 :]
    )
    with pytest.raises(DataError, match=r"part-00000\.parquet"):
        run(source, out)
    part.write_bytes(b"")
    with pytest.raises(DataError, match=r"part-00000\.parquet.*delete"):
        run(source, out)
    part.unlink()
    run(source, out)
    assert bytes_of(out) == before
