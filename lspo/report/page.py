"""The report as one HTML page: text, pictures, style and script, and nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from html import escape
from typing import Any

from lspo.report.grouping import RunGroup
from lspo.report.lengths import histogram_data, reasons_of
from lspo.report.overview import overview, settings_of
from lspo.report.plots import Plot, curve_plots, map_plot, prompt_plots, time_plots
from lspo.report.reasons import KNOWN, colour_of, label_of
from lspo.report.responses import MOST_BYTES, MOST_GROUPS, Sample, sample
from lspo.report.svg import asset
from lspo.runs import Run

TABS = {
    "overview": "Overview", "curves": "Curves", "lengths": "Lengths", "prompts": "Prompts", "time": "Time and cost",
    "responses": "Responses",
}  # fmt: skip
COST = "Cost"

NO_LENGTHS = (
    "The lengths of each iteration are not recorded in this run: its folder has no <code>iterations.jsonl</code>."
)
NO_METRICS = (
    "No curves of training: this run has no <code>metrics.csv</code>. "
    "<code>lspo.lightning_modules.ResumableCSVLogger</code> writes one."
)
NO_RESPONSES = (
    "No responses are on disk. <code>lspo.lightning_modules.RolloutWriter</code> among the Trainer's callbacks "
    "writes them."
)


def report_page(groups: Sequence[RunGroup], title: str = "") -> str:
    """The page of some groups of runs.

    Args:
        groups: What is drawn as one curve each; at least one.
        title: Heading of the page; by default the names of the groups.

    Returns: HTML.
    """
    runs = [(group.name_of(run), run) for group in groups for run in group.runs]
    title = title or ", ".join(group.label for group in groups[:4]) + (" and more" if len(groups) > 4 else "")
    samples = [sample(run, max(MOST_GROUPS // len(runs), 1), MOST_BYTES // len(runs)) for _, run in runs]
    plots = curve_plots(groups)
    contents = {
        "overview": overview(groups) + _figures([plot for plot in plots if plot.section == "Evaluation"]),
        "curves": _curves([plot for plot in plots if plot.section not in ("Evaluation", COST)]),
        "lengths": _each(runs, _lengths),
        "prompts": _each(runs, _prompts),
        "time": _each(runs, _time) + _headed("Cost", [plot for plot in plots if plot.section == COST]),
        "responses": "".join(_responses(place, found) for place, found in enumerate(samples)),
    }
    tabs = "".join(f'<a href="#tab={key}" data-tab="{key}">{name}</a>' for key, name in TABS.items())
    sections = "".join(f'<section id="tab-{key}">{contents[key]}</section>' for key in TABS)
    options = "".join(f'<option value="{place}">{escape(name)}</option>' for place, (name, _) in enumerate(runs))
    script = asset("script.js")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return asset("page.html").format(
        title=escape(title), allowed=allowed, style=asset("style.css"), plots=asset("plots.css"), tabs=tabs,
        options=options, sections=sections, data=_data(runs, samples), script=script, state=escape(_state(runs)),
        settings=escape(settings_of(groups)), written=time.strftime("%Y-%m-%d %H:%M"),
    )  # fmt: skip


def _data(runs: Sequence[tuple[str, Run]], samples: Sequence[Sample]) -> str:
    """What the script draws from, as JSON that can't end its element."""
    reasons = {reason: [label_of(reason), colour_of(reason)] for reason in KNOWN}
    described = []
    for (name, run), found in zip(runs, samples, strict=True):
        reasons |= {reason: [label, colour] for reason, label, colour in reasons_of(run)}
        lengths = histogram_data(run)
        described.append({"name": name, "lengths": lengths, "most": _fullest_bin(lengths), "responses": found.groups})
    text = json.dumps({"reasons": reasons, "runs": described}, ensure_ascii=False, separators=(",", ":"), default=str)
    # Lone halves of surrogate pairs, which a model may write, are no UTF-8.
    text = text.encode("utf-8", "replace").decode()
    return (
        text.replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )


def _fullest_bin(lengths: Sequence[dict[str, Any]]) -> int:
    """Groups in the fullest bin of a usual iteration, so that the bars of all iterations have one scale."""
    fullest = []
    for row in lengths:
        bins = [list(counts) for counts in row["counts"].values()]
        size = max(map(len, bins), default=0)
        fullest.append(max((sum(one[place] for one in bins if place < len(one)) for place in range(size)), default=1))
    return max(fullest, default=1)


def _state(runs: Sequence[tuple[str, Run]]) -> str:
    """How far the runs are."""
    words = []
    for _, run in runs[:1]:
        done = run.iterations[-1]["iteration"] + 1 if run.iterations else 0
        most = (run.config.get("trainer") or {}).get("max_epochs")
        words.append(
            f"{done:,} of {most:,} iterations" if isinstance(most, int) and most > 0 else f"{done:,} iterations"
        )
    return ", ".join(words) if len(runs) == 1 else f"{len(runs)} runs"


def _figures(plots: Sequence[Plot], kind: str = "grid-plots") -> str:
    return f'<div class="{kind}">{"".join(map(_figure, plots))}</div>' if plots else ""


def _figure(plot: Plot) -> str:
    return (
        f'<figure id="plot-{escape(plot.key)}" data-name="{escape(plot.key)}">{"".join(plot.pictures.values())}'
        f"<figcaption><span>{escape(plot.says)}</span>{SAVE}</figcaption></figure>"
    )


def _headed(heading: str, plots: Sequence[Plot]) -> str:
    return f"<h2>{heading}</h2>{_figures(plots)}" if plots else ""


def _curves(plots: Sequence[Plot]) -> str:
    if not any(plot.section == "Policy" for plot in plots) and len(plots) < 3:
        return _figures(plots) + f'<div class="panel empty"><p>{NO_METRICS}</p></div>'
    return "".join(
        _headed(section, [plot for plot in plots if plot.section == section]) for section in _sections(plots)
    )


def _sections(plots: Sequence[Plot]) -> list[str]:
    return list(dict.fromkeys(plot.section for plot in plots))


def _each(runs: Sequence[tuple[str, Run]], content: Any) -> str:
    return "".join(content(place, run) for place, (_, run) in enumerate(runs))


def _lengths(place: int, run: Run) -> str:
    plot = map_plot(run)
    if plot is None:
        return f'<div class="panel empty" data-run="{place}"><p>{NO_LENGTHS}</p></div>'
    last = len(histogram_data(run)) - 1
    both = SWITCH if "wide_judged" in plot.pictures else ""
    kind = "both" if both else "alone"
    return (
        f'<div class="panel {kind}" data-run="{place}">{both}<div class="lengths">'
        f'<figure data-name="lengths">{"".join(plot.pictures.values())}'
        f"<figcaption><span>{escape(plot.says)}</span>{SAVE}</figcaption></figure>"
        f'<figure data-name="lengths_of_iteration"><svg class="histogram"></svg>'
        f"<figcaption><span>Shaded: what the band keeps.</span>{SAVE}</figcaption></figure></div>"
        f'<div class="slider"><input type="range" min="0" max="{last}" value="{last}" aria-label="iteration">'
        '<output></output></div><div class="readout"></div></div>'
    )


def _prompts(place: int, run: Run) -> str:
    plots = prompt_plots(run)
    if not plots:
        return f'<div class="panel empty" data-run="{place}"><p>{NO_LENGTHS}</p></div>'
    wide = _figures([plot for plot in plots if plot.section == "Prompts"], "pair")
    sides = [plot for plot in plots if plot.section == "Sides"]
    heading = (
        "Short and long, right and wrong" if any(plot.key.startswith("side_") for plot in sides) else "Right and wrong"
    )
    return f'<div data-run="{place}">{wide}{_headed(heading, sides)}</div>'


def _time(place: int, run: Run) -> str:
    plots = time_plots(run)
    if not plots:
        return f'<div class="panel empty" data-run="{place}"><p>{NO_METRICS}</p></div>'
    return f'<div data-run="{place}">{_figures(plots, "pair")}</div>'


def _responses(place: int, found: Sample) -> str:
    if not found.groups:
        return f'<div class="panel empty" data-run="{place}"><p>{NO_RESPONSES}</p></div>'
    return (
        f'<div class="responses" data-run="{place}"><div class="filters">'
        '<label class="pick">iteration <select name="at"><option value="">all</option></select></label>'
        '<label class="pick">became <select name="reason"><option value="">anything</option></select></label>'
        '<label class="pick">responses <select name="show"><option value="">all</option>'
        '<option value="right">right ones</option><option value="wrong">wrong ones</option></select></label>'
        '<input type="search" name="find" placeholder="find text" aria-label="find text"> '
        '<span class="soft count"></span>'
        f'</div><p class="soft">{escape(found.left_out())}</p><div class="list"></div></div>'
    )


SWITCH = (
    '<div class="pick pool">groups <span class="switch">'
    '<button type="button" value="judged">judged by the band</button>'
    '<button type="button" value="all">all, with all right and all wrong</button></span></div>'
)
SAVE = '<span class="save"><a href="#" data-save="svg">SVG</a><a href="#" data-save="png">PNG</a></span>'
