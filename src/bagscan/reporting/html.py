"""One HTML page of screened scans: a summary that leads to every bag, then the bags. No script, no external request.

Benign contours are green and thin, anomalous ones red and dashed, so that colour is not the only cue; a numbered ring shows where each lies.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bagscan.core import Decision, Report, Scan
from bagscan.reporting.pictures import Pictures, close_up, displayable, overlay
from bagscan.reporting.places import Place, places_of
from bagscan.reporting.scale import chart, meter

MAX_PLACES = 12  # of one bag
OUTCOMES = {
    "found": "Found: something is hidden here, and a flagged part lies on it.",
    "found elsewhere": "Something is hidden here, and the alarm is at another place.",
    "missed": "Missed: something is hidden here, outlined in yellow.",
    "false alarm": "False alarm: nothing is hidden here.",
    "rightly clear": "Nothing is hidden here.",
}
WHAT_TO_DO = {
    "ALARM": "Look at the numbered places, the first one first; where they cannot be explained, open the bag.",
    "REVIEW": "No verdict was reached on all of this bag: look at it yourself, or scan it again.",
    "CLEAR": "Nothing to do: every view was judged, and nothing reached the operating point.",
}
STYLE = """
body{background:#14171a;color:#e6e8ea;font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1240px;padding:20px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:0;overflow-wrap:anywhere}a{color:#9cc9ff}code{color:#f2b84b}
.muted{color:#a3adb6}section{background:#1d2227;border-radius:10px;margin:18px 0;padding:16px}p{margin:4px 0}
.head{display:flex;gap:12px;align-items:baseline;flex-wrap:wrap}.head .top{margin-left:auto}.tag{border-radius:5px;color:#fff;font-weight:700;padding:2px 9px}
.ALARM{background:#c62f2f}.CLEAR{background:#1f7a3d}.REVIEW{background:#8a5800}.truth{color:#ffd400}
.body{display:grid;grid-template-columns:minmax(0,1.7fr) minmax(280px,1fr);gap:18px;margin-top:10px}svg,img.view{display:block;height:auto;width:100%}
.view{background:#000;border-radius:6px;overflow:hidden}.others{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:10px;margin-top:8px}
table{border-collapse:collapse;width:100%}td,th{padding:4px 10px 4px 0;text-align:left;vertical-align:middle}th{color:#a3adb6;font-weight:500}
tr{border-top:1px solid #2c333a}.part{border-radius:4px;display:block;height:130px;width:130px;object-fit:contain;background:#fff}
.small{height:56px;width:56px}.narrow{width:1px;white-space:nowrap;padding-right:18px}.list{overflow-x:auto}td{overflow-wrap:anywhere}.files{font-size:13px;overflow-wrap:anywhere}.meter{width:150px}details{margin-top:10px}summary{cursor:pointer}
@media(max-width:760px){.body{grid-template-columns:1fr}}
@media print{body{background:#fff;color:#000;max-width:none;padding:0}section{background:none;border:1px solid #999;break-inside:avoid}
.muted,th{color:#444}a{color:#000}code{color:#000}.truth{color:#000;font-weight:700}}
"""
_TOP = '<a class="top" href="#top">back to the summary</a>'


def error_section(row: Mapping[str, Any], anchor: str) -> str:
    """A bag of which no file could be read."""
    result = zip(row["reason_codes"], row["reasons"], strict=True)
    codes = "".join(f"<p><code>{code}</code> {html.escape(reason)}</p>" for code, reason in result)
    return (
        f'<section id="{anchor}"><div class="head"><span class="tag REVIEW">REVIEW</span><h2>{html.escape(str(row["scan_id"]))}</h2>{_TOP}</div>'
        f'<p>{WHAT_TO_DO["REVIEW"]}</p>{codes}<p class="muted">{html.escape(str(row["path"]))}</p></section>'
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
    """One bag: what to do, the view with the surest finding first, the others smaller, flagged parts by score.

    Args:
        files: that the views were read from, told in small print. anchor: by which the summary leads here.
        hidden: (H, W) bool masks of what is truly hidden, of simulated scans. outcome: one of ``OUTCOMES``.

    Returns:
        The section, and the address of the surest finding's close-up; empty where nothing is flagged.
    """
    shown = {view.view_id: displayable(view) for view in scan.views}
    places = places_of(report)
    first = places[0].view_id if places else scan.views[0].view_id
    order = sorted(scan.views, key=lambda view: view.view_id != first)
    drawn = [
        (
            _named(view.view_id, len(order)),
            overlay(
                view,
                shown[view.view_id],
                report,
                places,
                pictures,
                (hidden or {}).get(view.view_id),
            ),
        )
        for view in order
    ]
    close_ups = [
        close_up(shown[place.view_id], place.box_xyxy, pictures) for place in places[:MAX_PLACES]
    ]
    others = "".join(f"<div>{name}{svg}</div>" for name, svg in drawn[1:])
    views = drawn[0][0] + drawn[0][1] + (f'<div class="others">{others}</div>' if others else "")
    scores = [s for s in report.scores.values() if len(s)]
    distribution = (
        chart(np.concatenate(scores), report.threshold)
        if scores and report.threshold is not None
        else ""
    )
    body = f'<div class="body"><div>{views}</div><div>{_listed(report, places, close_ups, len(order))}{distribution}</div></div>'
    if (
        report.decision is Decision.CLEAR
    ):  # there is nothing to do about it; what was missed is shown all the same
        body = f"<details{' open' if outcome == 'missed' else ''}><summary>pictures</summary>{body}</details>"
    result = f"<p class='truth'>{OUTCOMES[outcome]}</p>" if outcome else ""
    reasons = "".join(
        f"<p><code>{reason.code}</code> {html.escape(reason)}</p>" for reason in report.reasons
    )
    notes = "".join(f"<p class='muted'>{html.escape(note)}</p>" for note in report.notes)
    decision = report.decision.value
    section = (
        f'<section id="{anchor}"><div class="head"><span class="tag {decision}">{decision}</span><h2>{html.escape(scan.id)}</h2>{_TOP}</div>'
        f"<p>{WHAT_TO_DO[decision]}</p>{result}{reasons}{notes}<p class='muted files'>{html.escape(', '.join(map(str, files)))}</p>{body}</section>"
    )
    return section, close_ups[0] if close_ups else ""


def _named(view_id: str, several: int) -> str:
    return f"<p class='muted'>view {html.escape(view_id)}</p>" if several > 1 else ""


def _listed(report: Report, places: Sequence[Place], close_ups: Sequence[str], several: int) -> str:
    if not places:
        return (
            ""
            if report.decision is Decision.REVIEW
            else "<p class='muted'>Nothing reached the operating point.</p>"
        )
    assert report.threshold is not None
    rows = "".join(
        _place(number, place, address, report.threshold, several)
        for number, (place, address) in enumerate(zip(places, close_ups, strict=False), 1)
    )
    more = (
        f"<p class='muted'>and {len(places) - MAX_PLACES} more, in findings.json</p>"
        if len(places) > MAX_PLACES
        else ""
    )
    return f"<table><tr><th></th><th>flagged place</th><th>how far above the operating point</th></tr>{rows}</table>{more}"


def _place(number: int, place: Place, address: str, threshold: float, several: int) -> str:
    result = [f"score {place.score:.3f}"]
    result += [f"{place.regions} regions side by side"] if place.regions > 1 else []
    result += (
        [f"{_percent(place.rate)} of benign regions score as high"]
        if place.rate is not None
        else []
    )
    result += [f"in view {html.escape(place.view_id)}"] if several > 1 else []
    picture = f'<img class="part" loading="lazy" alt="close-up of place {number}" src="{address}">'
    below = "".join(f"<p class='muted'>{text}</p>" for text in result)
    return f"<tr><td><b>{number}</b></td><td>{picture}</td><td>{meter(place.score, threshold)}{below}</td></tr>"


def _percent(rate: float) -> str:
    """A rate known from about a thousand quantiles: nothing under a tenth of a percent can be told."""
    return "under 0.1 %" if rate < 0.001 else f"{100 * rate:.1f} %"


def summary_row(row: Mapping[str, Any], anchor: str, linked: bool, address: str = "") -> str:
    """A bag's line of the summary.

    Args:
        linked: whether the page shows the bag itself. address: of a small picture of its surest finding.
    """
    name = html.escape(str(row["scan_id"] if row["views"] else Path(row["path"]).name))
    name = f'<a href="#{anchor}">{name}</a>' if linked else name
    best = row["findings"][0]["score"] if row["findings"] else row.get("highest_score")
    reasons = (
        [html.escape(row["error"])]
        if row.get("error")
        else [html.escape(reason) for reason in row["reasons"]]
    )
    result = "<br>".join(
        (
            [meter(best, row["threshold"])]
            if best is not None and row["decision"] != "REVIEW"
            else []
        )
        + reasons
    )
    small = f'<img class="part small" loading="lazy" alt="" src="{address}">' if address else ""
    outcome = row["truth"]["outcome"] if "truth" in row else ""
    truth = (
        f'<td class="{"muted" if outcome == "rightly clear" else "truth"}">{outcome}</td>'
        if outcome
        else ""
    )
    return f'<tr><td class="narrow"><span class="tag {row["decision"]}">{row["decision"]}</span></td><td class="narrow">{small}</td><td>{name}</td><td>{result}</td>{truth}</tr>'


def render_page(
    sections: Iterable[str],
    rows: Mapping[str, Sequence[str]],
    shown: int,
    tally: Mapping[str, int],
    models: Iterable[str],
    truth: str = "",
    missed: int = 0,
) -> Iterator[str]:
    """The whole page, piece by piece.

    Args:
        sections: of the ``shown`` bags. rows: of the summary by decision, as :func:`summary_row` gives them. tally: bags by decision, of all.
        models: one line on each model and its operating point. truth: how the verdicts compare with it, of simulated scans. missed: bags that are clear and have something hidden.
    """
    total = sum(map(len, rows.values()))
    counts = " · ".join(f"{tally[d.value]} {d.value}" for d in Decision)
    part = (
        f" The {shown} most in need of a look are shown; findings.json holds all."
        if shown < total
        else ""
    )
    truth_head = "<th>truth</th>" if truth else ""
    yield (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>bagscan report</title>'
        f'<style>{STYLE}</style><h1 id="top">bagscan report</h1><p>{total} bags: {counts}.{part}</p>'
        f"<p class='muted'>{'<br>'.join(map(html.escape, models))}</p>"
    )
    if truth:
        yield f"<p class='truth'>{'<br>'.join(map(html.escape, truth.splitlines()))}</p>"
    head = f"<tr><th>verdict</th><th></th><th>bag</th><th>score, or why</th>{truth_head}</tr>"
    open_rows = [row for name in ("ALARM", "REVIEW") for row in rows.get(name, ())]
    if open_rows:
        yield f"<section class='list'><table>{head}{''.join(open_rows)}</table></section>"
    if clear := rows.get("CLEAR", ()):
        of_these = f", {missed} of them with something hidden" if missed else ""
        yield f"<section class='list'><details><summary>{len(clear)} CLEAR{of_these}</summary><table>{head}{''.join(clear)}</table></details></section>"
    yield (
        "<p class='muted'>In the pictures: red dashed outlines in numbered rings reached the operating point. Green outlines were judged and did not "
        f"reach it{'; yellow is what is truly hidden' if truth else ''}. On a score's scale the mark in the middle is the "
        "operating point, and each tick to the right triples the odds that something is hidden. A first-stage aid: a person decides.</p>"
    )
    yield from sections
    yield "</html>"
