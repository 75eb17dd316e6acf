"""One self-contained HTML page of screened scans: no script, no external request.

Benign contours are green and thin, anomalous ones red and dashed, so that colour is not the only cue; a numbered ring shows where each lies.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from bagscan.core import Decision, Report, Scan, View
from bagscan.formats.quantities import transmission_of
from bagscan.reporting.contours import anomalous_path, benign_path

IMAGE_SIDE_PX = 720
HISTOGRAM_BINS = 40
STYLE = """
body{background:#14171a;color:#e6e8ea;font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1180px;padding:24px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:0;overflow-wrap:anywhere}a{color:#9cc9ff}
.muted{color:#9aa4ad}section{background:#1d2227;border-radius:10px;margin:22px 0;padding:18px}
.head{display:flex;gap:12px;align-items:baseline;margin-bottom:12px}.tag{border-radius:5px;font-weight:700;padding:2px 9px}
.ALARM{background:#c62f2f}.CLEAR{background:#1f7a3d}.REVIEW{background:#a56a00}
.body{display:grid;grid-template-columns:minmax(0,1.9fr) minmax(260px,1fr);gap:18px}svg{display:block;height:auto;width:100%}
.view{background:#000;border-radius:6px;overflow:hidden}table{border-collapse:collapse;width:100%}
td,th{padding:3px 8px 3px 0;text-align:right}td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}th{color:#9aa4ad;font-weight:500}
.part{border-radius:4px;display:block;height:88px;width:132px;object-fit:contain;background:#fff}td{vertical-align:middle}
.reason code{color:#f2b84b}.files{margin:-8px 0 12px;font-size:13px;overflow-wrap:anywhere}
details{margin-top:10px}@media(max-width:760px){.body{grid-template-columns:1fr}}
"""


def displayable(view: View) -> np.ndarray:
    """(H, W, 3) uint8: pseudo-colour as it is or, of low, high and effective Z, as operators know it; anything else as grey of its first channel."""
    if {"low", "high", "zeff"} <= set(view.channels):
        return _coloured(*(view.pixels[view.channels.index(name)] for name in ("low", "high", "zeff")))
    view = transmission_of(view)  # what absorbs is dark, as readers know it
    pixels = view.pixels if view.quantity == "pseudo_colour" and len(view.pixels) == 3 else view.pixels[:1].repeat(3, 0)
    low, high = np.percentile(pixels, [0.5, 99.5]) if view.quantity == "effective_z" else (0.0, 1.0)
    return (((pixels - low) / max(high - low, 1e-6)).clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def _coloured(low: np.ndarray, high: np.ndarray, zeff: np.ndarray) -> np.ndarray:
    from bagscan.physics.pseudo_colour import colour_again

    return colour_again(low, high, zeff).transpose(1, 2, 0)


def _data_uri(rgb: np.ndarray, side: int) -> str:
    image = Image.fromarray(rgb)
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _overlay(view: View, rgb: np.ndarray, report: Report) -> str:
    height, width = view.shape
    stroke = max(height, width) / 400
    labels, scores = report.regions.get(view.view_id), report.scores.get(view.view_id)
    threshold = report.threshold if report.threshold is not None else np.inf
    lines = [f'<svg class="view" viewBox="0 0 {width} {height}" role="img" aria-label="scan with contours">']
    lines.append(f'<image href="{_data_uri(rgb, IMAGE_SIDE_PX)}" width="{width}" height="{height}"/>')
    if labels is not None and scores is not None:
        step = max(1, max(labels.shape) // 480)  # contours no finer than they can be seen
        small = labels[::step, ::step]
        path = benign_path(small, scores, threshold)
        lines.append(f'<path d="{path}" transform="scale({step})" fill="none" stroke="#2fbf5f" stroke-opacity=".7" stroke-width="{0.6 * stroke / step:.2f}"/>')
    taken: list[tuple[float, float]] = []
    for number, finding in ((n, f) for n, f in enumerate(report.findings, 1) if f.view_id == view.view_id):
        lines.append(
            f'<path d="{anomalous_path(finding.mask)}" fill="#ff2020" fill-opacity=".12" stroke="#ff2020" stroke-width="{1.3 * stroke:.2f}" '
            f'stroke-dasharray="{4 * stroke:.1f} {2.2 * stroke:.1f}"><title>part {number}: score {finding.score:.4f}</title></path>'
        )
        x, y, radius = _ring(finding.box_xyxy, view.shape)
        at = _free_spot((x, y), radius, view.shape, 12 * stroke, taken)
        taken.append(at)
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="none" stroke="#ff2020" stroke-opacity=".8" stroke-width="{stroke:.2f}"/>'
            f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" font-size="{10 * stroke:.1f}" text-anchor="middle" dominant-baseline="central" '
            f'font-weight="700" fill="#ff2020" stroke="#fff" stroke-width="{2 * stroke:.2f}" paint-order="stroke">{number}</text>'
        )
    return "".join(lines) + "</svg>"


def _ring(box: tuple[float, float, float, float], shape: tuple[int, int]) -> tuple[float, float, float]:
    """(x, y, radius) of the ring around a part, which may be a speck of a whole bag."""
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) / 2 + max(shape) / 40


def _free_spot(centre: tuple[float, float], radius: float, shape: tuple[int, int], apart: float, taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where on its ring a number is written: upper right, or the next place around it that is within the picture and as far as ``apart`` from other numbers."""
    height, width = shape
    turns = np.deg2rad(-45 + 30 * np.arange(12))
    spots = [(float(centre[0] + radius * np.cos(a)), float(centre[1] + radius * np.sin(a))) for a in turns]
    clipped = [(min(max(x, apart), width - apart), min(max(y, apart), height - apart)) for x, y in spots]
    clear = [min((np.hypot(x - u, y - v) for u, v in taken), default=np.inf) for x, y in clipped]
    return next((spot for spot, far in zip(clipped, clear, strict=True) if far >= apart), clipped[int(np.argmax(clear))])


def _histogram(scores: np.ndarray, threshold: float) -> str:
    """Score histogram on the fixed scale 0 to 1, with the operating point."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    over, cut = scores >= threshold, min(threshold, 1.0)
    benign, flagged = (np.histogram(scores[side].clip(0, 1), edges)[0] for side in (~over, over))
    top = np.sqrt(max(1, benign.max(), flagged.max()))  # square root: few high scores must stay visible beside many low ones
    bars = []
    for counts, sides, colour in ((benign, edges.clip(0, cut), "#2fbf5f"), (flagged, edges.clip(cut, 1), "#ff5050")):  # the bin of the threshold is cut there
        for left, right, count in zip(sides[:-1], sides[1:], counts, strict=True):
            tall, wide = 60 * np.sqrt(count) / top, max(300 * (right - left) - 1.0, 0.8)
            bars += [f'<rect x="{300 * left:.1f}" y="{64 - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{colour}"/>'] if count else []
    mark = 300 * min(max(threshold, 0), 1)
    return (
        f'<svg viewBox="0 0 300 96" role="img" aria-label="histogram of segment scores">{"".join(bars)}'
        f'<line x1="{mark:.1f}" x2="{mark:.1f}" y1="0" y2="66" stroke="#fff" stroke-dasharray="3 2"/>'
        '<text x="0" y="78" fill="#9aa4ad" font-size="11">0</text><text x="293" y="78" fill="#9aa4ad" font-size="11">1</text>'
        '<text x="150" y="78" fill="#9aa4ad" font-size="11" text-anchor="middle">scores of parts</text>'
        '<text x="150" y="92" fill="#9aa4ad" font-size="10" text-anchor="middle">height: square root of the count; dashed: operating point</text></svg>'
    )


def _cut_out(rgb: np.ndarray, box: tuple[float, float, float, float]) -> str:
    x1, y1, x2, y2 = box
    margin = 1.2 * max(x2 - x1, y2 - y1)  # what is around it tells what it is
    height, width = rgb.shape[:2]
    window = np.s_[int(max(0, y1 - margin)) : int(min(height, y2 + margin)), int(max(0, x1 - margin)) : int(min(width, x2 + margin))]
    return f'<img class="part" alt="" src="{_data_uri(np.ascontiguousarray(rgb[window]), 132)}">'


def _percent(rate: float | None) -> str:
    """A rate known from about a thousand quantiles: nothing under a tenth of a percent can be told."""
    return "-" if rate is None else "under 0.1 %" if rate < 0.001 else f"{100 * rate:.1f} %"


def error_section(title: str, error: str) -> str:
    """A file that could not be read."""
    return f'<section><div class="head"><span class="tag REVIEW">REVIEW</span><h2>{html.escape(title)}</h2></div><p>{html.escape(error)}</p></section>'


def report_section(report: Report, scan: Scan, files: Iterable[object]) -> str:
    """One bag: the picture of every view with contours, flagged parts by score, histogram.

    Args:
        files: that the views were read from, told in small print.
    """
    pictures = {view.view_id: displayable(view) for view in scan.views}
    several = len(pictures) > 1
    rows = "".join(
        f"<tr><td>{number}</td><td>{_cut_out(pictures[f.view_id], f.box_xyxy)}</td>{f'<td>{html.escape(f.view_id)}</td>' if several else ''}"
        f"<td>{f.score:.4f}</td><td>{_percent(f.expected_false_positive_rate)}</td></tr>"
        for number, f in enumerate(report.findings[:12], 1)
    )
    more = f"<p class='muted'>and {len(report.findings) - 12} more</p>" if len(report.findings) > 12 else ""
    head = f"<tr><th></th><th>flagged part</th>{'<th>view</th>' if several else ''}<th>score</th><th>expected FPR</th></tr>"
    parts = f"<table>{head}{rows}</table>{more}" if rows else "<p class='muted'>No flagged parts.</p>"
    scores = [s for s in report.scores.values() if len(s)]
    chart = _histogram(np.concatenate(scores), report.threshold or 0.0) if scores else ""
    reasons = "".join(f"<p class='reason'><code>{reason.code}</code> {html.escape(reason)}</p>" for reason in report.reasons)
    notes = "".join(f"<p class='muted'>{html.escape(note)}</p>" for note in report.notes)
    views = "".join((f"<p class='muted'>{html.escape(v.view_id)}</p>" if several else "") + _overlay(v, pictures[v.view_id], report) for v in scan.views)
    return (
        f'<section><div class="head"><span class="tag {report.decision.value}">{report.decision.value}</span>'
        f"<h2>{html.escape(scan.id)}</h2></div><p class='muted files'>{html.escape(', '.join(map(str, files)))}</p>{reasons}{notes}"
        f'<div class="body"><div>{views}</div><div>{parts}{chart}</div></div></section>'
    )


def render_page(sections: Iterable[str], shown: int, total: int, tally: Mapping[str, int], models: Iterable[str]) -> Iterator[str]:
    """The whole page, piece by piece.

    Args:
        sections: of the ``shown`` scans, out of ``total``. tally: scans by decision, of all.
        models: one line on each model and its operating point.
    """
    summary = " · ".join(f"{tally[d.value]} {d.value}" for d in Decision)
    part = f" The {shown} most in need of a look are shown; findings.json holds all." if shown < total else ""
    yield (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>bagscan report</title>'
        f"<style>{STYLE}</style><h1>bagscan report</h1><p>{total} scans: {summary}.{part}</p>"
        f"<p class='muted'>{'<br>'.join(map(html.escape, models))}<br>"
        "Green: benign sub-components. Red, dashed, in a numbered ring: anomalous. Expected FPR: share of benign segments of the validation split "
        "that score as high; a bag has some hundred segments. A first-stage aid; a person decides.</p>"
    )
    yield from sections
    yield "</html>"
