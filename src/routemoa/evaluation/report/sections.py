"""The sections of the page, each from its figures; what is unknown says why and does not vanish."""

from __future__ import annotations

from routemoa.evaluation.report import charts
from routemoa.evaluation.report.caveats import missing
from routemoa.evaluation.report.figures import OURS, Report
from routemoa.evaluation.report.findings import ModelShares
from routemoa.evaluation.report.markup import (
    EXAMPLE,
    Html,
    change,
    figure,
    interval,
    join,
    number,
    percent,
    points,
    table,
    tag,
)
from routemoa.evaluation.report.scatter import draw_quality
from routemoa.evaluation.report.svg import format_whole_percent, shorten
from routemoa.evaluation.report.table import GROUPS, MEASURES, METHOD_DESCRIPTIONS, Row

__all__ = ["ablated", "calibrated", "chosen_when", "grown", "methods", "quality_against", "saved", "stopped"]


def methods(page: Report) -> Html:
    """The table of all methods."""
    against = shorten(page.baseline or "the best single model")
    heads = ["method", "right (95\u00a0%)", f"over {against}, points (95\u00a0%)", "questions", "failed"]
    heads += [MEASURES[m] for m in page.measures] + ["saved against moa"]
    bodies = [(title, [_row(r, page) for r in page.rows if r.group == group]) for group, title in GROUPS.items()]
    below = [
        tag("p", why, _class="soft")
        for m in dict.fromkeys((*page.measures, "seconds"))
        if (why := missing(m, page.rows))
    ]
    said = (
        "Calls, tokens, dollars and seconds are means for a question; in brackets are 95 % intervals. A difference is "
        "bold where its interval leaves out zero. Saved are dollars where they are known, else tokens, on the "
        "questions of both. Failures are answers that never came, over all seeds."
    )
    return join([tag("p", said), table("All methods, means for a question", heads, bodies), *below])


def _row(r: Row, page: Report) -> list[str]:
    saving = next((s for m in ("cost", *page.measures[1:2], "calls") if (s := r.dense_ratios.get(m)) is not None), None)
    dense = "–" if saving is None or r.method == "moa" else format_whole_percent(1 - saving)
    says = METHOD_DESCRIPTIONS.get(r.method) or ("without one part" if r.group == "ablation" else "")
    name = join([r.method, *([tag("span", says, _class="soft")] if says and r.group != "ablation" else [])])
    spent = [number(r.means[m], m) for m in page.measures]
    gap = "–" if r.method == page.baseline else points(r.gap)
    ends = tag("span", f" ({interval(r.ci95)})" if r.ci95 else "", _class="soft")
    return [name, join([percent(r.accuracy), ends]), gap, f"{r.n:,}", f"{r.failed:,}", *spent, dense]


def quality_against(page: Report) -> Html:
    """Accuracy against cost and against latency, or what stands in for them."""

    def first(*measures: str) -> str:
        def can(m: str) -> bool:
            return sum(bool(r.means[m]) for r in page.rows if r.group != "ablation") > 1

        return next((m for m in measures if can(m)), "calls")

    cost, clock = first("cost", "tokens", "completion_tokens"), first("seconds", "path_tokens")
    notes = []
    if cost != "cost":
        free = all(r.means["cost"] == 0 for r in page.rows)
        why = "Nobody charged anything." if free else missing("cost", page.rows) or ""
        notes.append(f"{why} {MEASURES[cost].capitalize()} stand in for dollars.")
    if clock != "seconds":
        notes.append(f"{missing('seconds', page.rows) or ''} {MEASURES[clock].capitalize()} stand in for seconds.")
    drawn = [
        figure(chart, _figures(page, measure))
        for measure in dict.fromkeys((cost, clock))
        if (chart := draw_quality(f"quality-{measure.replace('_', '-')}", page.rows, measure))
    ]
    said = (
        "Up and to the left is better. Bars are 95 % intervals. Methods on the dashed line are those that nothing else "
        "beats in one without losing in the other; the oracle is not among them, for nobody can reach it. Ablations "
        "have a chart of their own below."
    )
    left = [r.method for r in page.rows if r.group != "ablation" and r.means[cost] is None]
    if drawn and left:
        notes.append(f"Not in the first chart, for its {MEASURES[cost]} are unknown: {', '.join(left)}.")
    empty = tag("p", "Unknown: fewer than two methods have both an accuracy and a cost.")
    return join([tag("p", said), *(tag("p", n.strip(), _class="note") for n in notes), *_pair(drawn or [empty])])


def _pair(parts: list[Html]) -> list[Html]:
    return [tag("div", *parts, _class="pair")]


def _figures(page: Report, measure: str) -> Html:
    rows = [
        [r.method, number(r.means[measure], measure), _spread(r, measure), percent(r.accuracy), interval(r.ci95)]
        for r in page.rows
        if r.group != "ablation"
    ]
    heads = ["method", f"{MEASURES[measure]} a question", "95 % interval", "right", "95 % interval"]
    return table(f"Quality against {MEASURES[measure]}", heads, [("", rows)])


def _spread(row: Row, measure: str) -> str:
    ends = row.intervals.get(measure)
    return " to ".join(number(e, measure) for e in ends) if ends else ""


def saved(page: Report) -> Html:
    """What is left of a dense mixture's spending."""
    if not page.savings:
        known = any(r.method == "moa" for r in page.rows)
        why = "no figure is known for both on every question." if known else "moa, the dense mixture, was not run here."
        return tag("p", f"Unknown: {why}")
    chart = charts.draw_savings("savings-chart", page.savings)
    rows = [[MEASURES[s.measure], percent(s.saved), interval((s.low, s.high))] for s in page.savings]
    below = table("Saved by routemoa, on the questions of both", ["of", "saved", "95 % interval"], [("", rows)])
    absent = [MEASURES[m] for m in page.measures if m not in {s.measure for s in page.savings}]
    note = [tag("p", f"Unknown, or nothing was spent: {', '.join(absent)}.", _class="soft")] if absent else []
    return join([*([figure(chart, below)] if chart else []), *note])


def calibrated(page: Report) -> Html:
    """Whether the stated confidences hold."""
    found = page.calibration
    if found is None:
        return tag("p", "Unknown: no graded answer of routemoa has a stated confidence.")
    rows = [
        [
            f"{100 * b.low:.0f} to {100 * b.high:.0f} %",
            f"{b.n:,}",
            percent(b.confidence),
            percent(b.right),
            interval(b.ci95),
        ]
        for b in found.bins
    ]
    said = (
        f"Of answers that were given with a confidence of 80 %, four in five should be right. Over {found.n:,} "
        f"answers the stated and the true share lie {100 * found.ece:.1f} points apart on average (expected "
        f"calibration error); the Brier score is {found.brier:.3f} (0 is perfect)."
    )
    heads = ["confidence", "answers", "mean confidence", "right", "95 % interval"]
    below = table("Stated confidence and the share that was right", heads, [("", rows)])
    return join([tag("p", said), figure(charts.draw_calibration("calibration-chart", found), below)])


def chosen_when(found: ModelShares | None) -> Html:
    """Shares of calls and of answers that stood, by task and by layer."""
    if found is None:
        return tag("p", "Unknown: the outcomes of routemoa do not say who was called.")
    views = (
        ("called", "Who was called, by task", found.called, found.tasks, ""),
        ("final", "Whose answer stood, by task", found.final, found.tasks, ""),
        ("layered", "Who was called, by layer", found.by_layer, found.layers, "layer "),
    )
    parts: list[Html] = [tag("p", "In % of the questions of a column. Several models may be called for one question.")]
    for key, title, cells, columns, unit in views:
        rows = [[f"{unit}{c} ({n:,})", *(percent(row[c], 0) for row in cells.values())] for c, n in columns.items()]
        below = table(f"{title}; in brackets the answers", ["", *cells], [("", rows)])
        chart = charts.draw_shares(f"chosen-{key}", title, cells, columns, unit)
        parts.append(figure(chart, below) if chart else below)
    return join([parts[0], *_pair(parts[1:])])


def stopped(page: Report) -> Html:
    """What came of the questions that ended in each layer, and the reasons to end."""
    if not page.layers and not page.stops:
        return tag("p", "Unknown: the outcomes of routemoa hold no layers and no reason to stop.")
    layers = [
        [f"layer {x.layer}", f"{x.reached:,}", f"{x.calls:,}", f"{x.ended:,}", percent(x.right), percent(x.any_right)]
        for x in page.layers
    ]
    stops = [
        [
            s.kind,
            f"{s.n:,}",
            percent(s.right),
            number(s.calls, "calls"),
            shorten(s.example, 240),
        ]
        for s in page.stops
    ]
    told = (
        "Of the questions that ended in a layer: how many came right, and in how many any of the models called was. "
        "What lies between the two was lost in choosing."
    )
    heads = ["", "answers that reached it", "calls", "ended there", "of these right", "somebody was right"]
    why = ["reason", "answers", "right", "calls", EXAMPLE]
    first = table("What each layer added", heads, [("", layers)])
    return join([tag("p", told), first, table("Why it stopped, in its own words", why, [("", stops)])])


def ablated(page: Report) -> Html:
    """What is lost without each part."""
    run = [a for a in page.ablations if a.row]
    absent = [a.description for a in page.ablations if not a.row]
    note = (
        [tag("p", f"Not in this run, so unknown: without {', without '.join(absent)}.", _class="soft")]
        if absent
        else []
    )
    if not run:
        return join([tag("p", "Unknown: the method was not run without any of its parts."), *note])
    measures = page.measures

    rows = [
        [f"without {a.description}", percent(a.row.accuracy), points(a.gap), *(change(a.ratios[m]) for m in measures)]
        for a in run
        if a.row
    ]
    heads = ["", "right", "points (95 %)", *(MEASURES[m] for m in measures)]
    below = table(f"{OURS} without one of its parts, beside the whole", heads, [("", rows)])
    chart = charts.draw_ablations("parts-chart", page.ablations)
    said = "Each line leaves one part out. Left of zero, the part adds; where the interval holds zero, it may not."
    return join([tag("p", said), figure(chart, below) if chart else below, *note])


def grown(page: Report) -> Html:
    """Accuracy and spending by the size of the pool."""
    if not page.scale:
        return tag("p", "Unknown: pools of other sizes were not run.")
    parts = []
    for i, pool in enumerate(dict.fromkeys(c.pool for c in page.scale)):
        curves = [c for c in page.scale if c.pool == pool]
        spent = ("calls", "tokens", "cost", "seconds")
        rows = [
            [f"{c.method}, {p.models} models", percent(p.accuracy), interval(p.ci95)]
            + [number(getattr(p, m), m) for m in spent]
            for c in curves
            for p in c.points
        ]
        heads = ["", "right", "95 % interval", *(MEASURES[m] for m in spent)]
        below = table(f"By pool size: {pool}", heads, [("", rows)])
        chart = charts.draw_scale(f"scale-{i}", pool, curves)
        parts.append(figure(chart, below) if chart else below)
    return join(parts)
