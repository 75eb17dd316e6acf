"""HTML page of screened scans: a summary that links to every bag, then the bags.

The page has no script and makes no external request. Benign contours are thin and green, anomalous
ones red and dashed, so that colour is not the only cue; a numbered ring marks each flagged place.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import Decision, Report, Scan
from bagscan.examining import ANOMALY
from bagscan.reporting.pictures import Pictures, close_up, displayable, overlay
from bagscan.reporting.places import Place, places_of
from bagscan.reporting.scale import chart, meter

MAX_PLACES = 12  # listed per bag
OUTCOMES = {
    "found": "Found: something is hidden here, and a flagged place lies on it.",
    "found elsewhere": "Something is hidden here, but what is flagged is elsewhere, or too much.",
    "missed": "Missed: something is hidden here, outlined in yellow.",
    "false alarm": "False alarm: nothing is hidden here.",
    "rightly clear": "Nothing is hidden here.",
}
WHAT_TO_DO = {
    "ALARM": "Look at the numbered places, starting with 1; if they cannot be explained, "
    "open the bag.",
    "REVIEW": "There is no verdict for all of this bag: look at it yourself, or scan it again.",
    "CLEAR": "Every view was screened, and nothing reached the operating point.",
}
STYLE = """
body{background:#14171a;color:#e6e8ea;font:15px/1.45 system-ui,sans-serif;margin:0 auto;
max-width:1240px;padding:20px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:0;overflow-wrap:anywhere}
a{color:#9cc9ff}code{color:#f2b84b}
.muted{color:#a3adb6}section{background:#1d2227;border-radius:10px;margin:18px 0;padding:16px}
p{margin:4px 0}
.head{display:flex;gap:12px;align-items:baseline;flex-wrap:wrap}.head .top{margin-left:auto}
.tag{border-radius:5px;color:#fff;font-weight:700;padding:2px 9px}
.ALARM{background:#c62f2f}.CLEAR{background:#1f7a3d}.REVIEW{background:#8a5800}
.truth{color:#ffd400}
.body{display:grid;grid-template-columns:minmax(0,1.7fr) minmax(280px,1fr);gap:18px;
margin-top:10px}svg,img.view{display:block;height:auto;width:100%}
.view{background:#000;border-radius:6px;overflow:hidden}
.others{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:10px;
margin-top:8px}
table{border-collapse:collapse;width:100%}
td,th{padding:4px 10px 4px 0;text-align:left;vertical-align:middle}
th{color:#a3adb6;font-weight:500}
tr{border-top:1px solid #2c333a}
.part{border-radius:4px;display:block;height:130px;width:130px;object-fit:contain;background:#fff}
.small{height:56px;width:56px}.narrow{width:1px;white-space:nowrap;padding-right:18px}
.list{overflow-x:auto}td{overflow-wrap:anywhere}.files{font-size:13px;overflow-wrap:anywhere}
.meter{width:150px}details{margin-top:10px}summary{cursor:pointer}
@media(max-width:760px){.body{grid-template-columns:1fr}}
@media print{body{background:#fff;color:#000;max-width:none;padding:0}
section{background:none;border:1px solid #999;break-inside:avoid}
.muted,th{color:#444}a{color:#000}code{color:#000}.truth{color:#000;font-weight:700}}
"""
_TOP = '<a class="top" href="#top">back to the summary</a>'


def error_section(row: Mapping[str, Any], anchor: str) -> str:
    """Return the section of a bag of which no file could be read."""
    reasons = zip(row["reason_codes"], row["reasons"], strict=True)
    codes = "".join(f"<p><code>{code}</code> {html.escape(reason)}</p>" for code, reason in reasons)
    return (
        f'<section id="{anchor}">{_heading("REVIEW", str(row["scan_id"]))}'
        f"<p>{WHAT_TO_DO['REVIEW']}</p>{codes}"
        f'<p class="muted">{html.escape(str(row["path"]))}</p></section>'
    )


def _heading(decision: str, scan_id: str) -> str:
    return (
        f'<div class="head"><span class="tag {decision}">{decision}</span>'
        f"<h2>{html.escape(scan_id)}</h2>{_TOP}</div>"
    )


def report_section(
    report: Report,
    scan: Scan,
    files: Iterable[object],
    anchor: str,
    pictures: Pictures,
    hidden: Mapping[str, np.ndarray] | None = None,
    outcome: str = "",
) -> tuple[str, str]:
    """Return the section of one bag.

    It says what to do, shows the view with the highest-scoring finding first and the other views
    smaller, and lists the flagged places by score.

    Args:
        report: the screener's report.
        scan: the scan.
        files: files that the views were read from, named in small print.
        anchor: id of the section, for links.
        pictures: destination of the pictures.
        hidden: (H, W) bool masks of hidden items by view, of simulated scans.
        outcome: a key of ``OUTCOMES``, or empty.

    Returns:
        The section, and the address of the close-up of the highest-scoring place; empty if nothing
        is flagged.
    """
    images = {view.view_id: displayable(view) for view in scan.views}
    places = places_of(report)
    first = places[0].view_id if places else scan.views[0].view_id
    order = sorted(scan.views, key=lambda view: view.view_id != first)
    drawings = []
    for view in order:
        mask = (hidden or {}).get(view.view_id)
        drawing = overlay(view, images[view.view_id], report, places, pictures, mask)
        drawings.append(_view_name(view.view_id, len(order)) + drawing)
    close_ups = [
        close_up(images[place.view_id], place.box_xyxy, pictures) for place in places[:MAX_PLACES]
    ]
    others = "".join(f"<div>{drawing}</div>" for drawing in drawings[1:])
    views = drawings[0] + (f'<div class="others">{others}</div>' if others else "")
    scores = [s for s in report.scores.values() if len(s)]
    distribution = ""
    if scores and report.threshold is not None:
        distribution = chart(np.concatenate(scores), report.threshold)
    table = _place_table(report, places, close_ups, len(order))
    body = f'<div class="body"><div>{views}</div><div>{table}{distribution}</div></div>'
    if report.decision is Decision.CLEAR:  # folded unless something was missed
        state = " open" if outcome == "missed" else ""
        body = f"<details{state}><summary>pictures</summary>{body}</details>"
    truth = f"<p class='truth'>{OUTCOMES[outcome]}</p>" if outcome else ""
    reasons = "".join(
        f"<p><code>{reason.code}</code> {html.escape(reason)}</p>" for reason in report.reasons
    )
    notes = "".join(f"<p class='muted'>{html.escape(note)}</p>" for note in report.notes)
    decision = report.decision.value
    section = (
        f'<section id="{anchor}">{_heading(decision, scan.id)}'
        f"<p>{WHAT_TO_DO[decision]}</p>{truth}{reasons}{notes}"
        f"<p class='muted files'>{html.escape(', '.join(map(str, files)))}</p>{body}</section>"
    )
    return section, close_ups[0] if close_ups else ""


def _view_name(view_id: str, n_views: int) -> str:
    return f"<p class='muted'>view {html.escape(view_id)}</p>" if n_views > 1 else ""


def _place_table(
    report: Report, places: Sequence[Place], close_ups: Sequence[str], n_views: int
) -> str:
    if not places:
        if report.decision is Decision.REVIEW:
            return ""
        return "<p class='muted'>Nothing reached the operating point.</p>"
    assert report.threshold is not None
    rows = "".join(
        _place_row(number, place, address, report.threshold, n_views)
        for number, (place, address) in enumerate(zip(places, close_ups, strict=False), 1)
    )
    more = ""
    if len(places) > MAX_PLACES:
        more = f"<p class='muted'>and {len(places) - MAX_PLACES} more, in findings.json</p>"
    return (
        "<table><tr><th></th><th>flagged place</th><th>how far above the operating point</th></tr>"
        f"{rows}</table>{more}"
    )


def _place_row(number: int, place: Place, address: str, threshold: float, n_views: int) -> str:
    facts = [] if place.label == ANOMALY else [html.escape(place.label.replace("_", " "))]
    facts.append(f"score {place.score:.3f}")
    if place.regions > 1:
        facts.append(f"{place.regions} adjacent regions")
    if place.rate is not None:
        facts.append(f"{_percent(place.rate)} of benign regions score at least as high")
    if n_views > 1:
        facts.append(f"in view {html.escape(place.view_id)}")
    picture = f'<img class="part" loading="lazy" alt="close-up of place {number}" src="{address}">'
    text = "".join(f"<p class='muted'>{fact}</p>" for fact in facts)
    return (
        f"<tr><td><b>{number}</b></td><td>{picture}</td>"
        f"<td>{meter(place.score, threshold)}{text}</td></tr>"
    )


def _percent(rate: float) -> str:
    # The rate comes from about a thousand quantiles, which resolve no less than 0.1 %.
    return "under 0.1 %" if rate < 0.001 else f"{100 * rate:.1f} %"


def summary_row(row: Mapping[str, Any], anchor: str, linked: bool, address: str = "") -> str:
    """Return the row of a bag in the summary.

    Args:
        row: the bag's row of ``findings.json``.
        anchor: id of the bag's section.
        linked: True if the page contains that section.
        address: address of the close-up of the highest-scoring place; empty for none.
    """
    name = html.escape(str(row["scan_id"] if row["views"] else Path(row["path"]).name))
    name = f'<a href="#{anchor}">{name}</a>' if linked else name
    best = row["findings"][0]["score"] if row["findings"] else row.get("highest_score")
    reasons = [row["error"]] if row.get("error") else row["reasons"]
    lines = [html.escape(reason) for reason in reasons]
    if best is not None and row["decision"] != "REVIEW":
        lines.insert(0, meter(best, row["threshold"]))
    picture = f'<img class="part small" loading="lazy" alt="" src="{address}">' if address else ""
    outcome = row["truth"]["outcome"] if "truth" in row else ""
    style = "muted" if outcome == "rightly clear" else "truth"
    truth = f'<td class="{style}">{outcome}</td>' if outcome else ""
    return (
        f'<tr><td class="narrow"><span class="tag {row["decision"]}">{row["decision"]}</span></td>'
        f'<td class="narrow">{picture}</td><td>{name}</td><td>{"<br>".join(lines)}</td>{truth}</tr>'
    )


def render_page(
    sections: Iterable[str],
    rows: Mapping[str, Sequence[str]],
    shown: int,
    tally: Mapping[str, int],
    models: Iterable[str],
    truth: str = "",
    missed: int = 0,
) -> Iterator[str]:
    """Yield the page piece by piece.

    Args:
        sections: sections of bags, from :func:`report_section` and :func:`error_section`.
        rows: rows of the summary by decision, from :func:`summary_row`.
        shown: number of sections.
        tally: number of all bags by decision.
        models: a line on each model and its operating point.
        truth: comparison of the verdicts with the truth, of simulated scans.
        missed: number of CLEAR bags with something hidden, of simulated scans.
    """
    total = sum(map(len, rows.values()))
    counts = " · ".join(f"{tally[d.value]} {d.value}" for d in Decision)
    note = ""
    if shown < total:
        note = f" The page shows the {shown} most urgent ones; findings.json holds all."
    truth_head = "<th>truth</th>" if truth else ""
    yield (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>bagscan report</title>'
        f'<style>{STYLE}</style><h1 id="top">bagscan report</h1>'
        f"<p>{total} bags: {counts}.{note}</p>"
        f"<p class='muted'>{'<br>'.join(map(html.escape, models))}</p>"
    )
    if truth:
        yield f"<p class='truth'>{'<br>'.join(map(html.escape, truth.splitlines()))}</p>"
    head = f"<tr><th>verdict</th><th></th><th>bag</th><th>score or reason</th>{truth_head}</tr>"
    open_rows = [row for name in ("ALARM", "REVIEW") for row in rows.get(name, ())]
    if open_rows:
        yield f"<section class='list'><table>{head}{''.join(open_rows)}</table></section>"
    if clear := rows.get("CLEAR", ()):
        of_these = f", {missed} of them with something hidden" if missed else ""
        yield (
            f"<section class='list'><details><summary>{len(clear)} CLEAR{of_these}</summary>"
            f"<table>{head}{''.join(clear)}</table></details></section>"
        )
    yellow = " Yellow outlines show what is really hidden." if truth else ""
    yield (
        "<p class='muted'>Red dashed outlines in numbered rings reached the operating point. "
        f"Green outlines were scored and did not reach it.{yellow} "
        "On the scale of a score, the mark in the middle is the operating point; each tick to the "
        "right triples the odds that something is hidden. "
        "bagscan is a first-stage aid: a person decides.</p>"
    )
    yield from sections
    yield "</html>"
