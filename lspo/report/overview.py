"""The first thing that is read: what a run reached and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from lspo.report.grouping import RunGroup
from lspo.report.headline import Cost, Gain, gains, mean_cost
from lspo.report.intervals import Interval
from lspo.report.numbers import duration, percent, short

UNKNOWN = "–"


def overview(groups: Sequence[RunGroup]) -> str:
    """Cards and a table of one group, or a table that compares several."""
    if len(groups) == 1:
        found, spent = gains(groups[0]), mean_cost(groups[0].runs)
        return _cards(groups[0], found, spent) + _gain_table(found) + "<h2>Evaluation</h2>" * bool(found)
    return _comparison(groups) + "<h2>Evaluation</h2>"


def settings_of(groups: Sequence[RunGroup]) -> str:
    """The settings that matter most, in one line; of several groups only what all share."""
    lines = [_settings(run.config) for group in groups for run in group.runs]
    shared = [word for word in lines[0] if all(word in line for line in lines)]
    return " · ".join(shared)


def _settings(config: Mapping[str, Any]) -> list[str]:
    model, data = config.get("model") or {}, config.get("data") or {}
    words = [_short_name(model.get("objective")), _selector(data.get("selector"))]
    name = model.get("model")
    words.insert(0, name if isinstance(name, str) else "")
    if data.get("train_groups") and data.get("group_size"):
        words.append(f"{data['train_groups']} groups of {data['group_size']} responses per iteration")
    optimizer = (model.get("optimizer") or {}) if isinstance(model.get("optimizer"), Mapping) else {}
    rate = (optimizer.get("init_args") or {}).get("lr")
    words.append(f"learning rate {rate:g}" if isinstance(rate, int | float) else "")
    seed = config.get("seed_everything")
    words.append(f"seed {seed}" if isinstance(seed, int) else "")
    return [word for word in words if word]


def _short_name(part: Any) -> str:
    path = part.get("class_path", "") if isinstance(part, Mapping) else part
    return str(path or "").rsplit(".", 1)[-1]


def _selector(part: Any) -> str:
    inner = (part.get("init_args") or {}).get("selectors") if isinstance(part, Mapping) else None
    return " → ".join(map(_short_name, inner)) if isinstance(inner, list) else _short_name(part)


def _cards(group: RunGroup, found: Sequence[Gain], spent: Cost) -> str:
    cards = []
    averages = [gain for gain in found if "/avg@" in gain.name]
    for gain in averages[:2]:
        name = gain.name.removeprefix("val/")
        values = f"{percent(gain.before.mean)} → {percent(gain.after.mean)}"
        if gain.first == gain.last:
            values = percent(gain.after.mean)
        cards.append(_card(values, f"{name}: {_change(gain)}", _bounds(gain.after, "after") + f", {gain.after.how}"))
    seeds = "" if len(group.runs) == 1 else f", mean of {len(group.runs)} seeds"
    iterations = f"{spent.iterations:,} iteration{'s' if spent.iterations != 1 else ''}{seeds}"
    if spent.tokens is not None:
        cards.append(_card(short(spent.tokens), "generated tokens", iterations))
    if spent.seconds is not None:
        cpu = "" if spent.cpu_seconds is None else f"{duration(spent.cpu_seconds)} of processor time"
        cards.append(_card(duration(spent.seconds), "time of the run", cpu))
    if spent.tokens_per_trained is not None:
        kept = "" if spent.tokens_per_kept is None else f"{short(spent.tokens_per_kept)} tokens per kept group; "
        rollouts = (
            "" if spent.rollouts_per_trained is None else f"{spent.rollouts_per_trained:.1f} responses per trained one"
        )
        cards.append(_card(short(spent.tokens_per_trained), "tokens per trained group", kept + rollouts))
    return (
        f'<div class="cards">{"".join(cards)}</div>'
        if cards
        else '<div class="panel empty"><p>Nothing is recorded yet.</p></div>'
    )


def _card(number: str, name: str, more: str) -> str:
    return f'<div class="card"><b>{escape(number)}</b>{escape(name)}<span>{escape(more)}</span></div>'


def _change(gain: Gain) -> str:
    if gain.first == gain.last:
        return "one evaluation so far"
    points = 100 * (gain.after.mean - gain.before.mean)
    return f"{_signed(points)} points in {gain.last - gain.first:,} iterations"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _bounds(interval: Interval, word: str) -> str:
    if interval.low == interval.high:
        return word
    return f"95%: {percent(max(interval.low, 0.0))} to {percent(min(interval.high, 1.0))} {word}".strip()


def _cell(interval: Interval) -> str:
    """A share with the bounds of its interval."""
    if interval.low == interval.high:
        return percent(interval.mean)
    low, high = 100 * max(interval.low, 0.0), 100 * min(interval.high, 1.0)
    return f'{percent(interval.mean)} <span class="soft">({low:.1f} to {high:.1f})</span>'


def _gain_table(found: Sequence[Gain]) -> str:
    if not found:
        return ""
    rows = ""
    for gain in found:
        points = UNKNOWN if gain.first == gain.last else _signed(100 * (gain.after.mean - gain.before.mean))
        if gain.change is not None:
            points += f" ({_signed(100 * gain.change.low)} to {_signed(100 * gain.change.high)})"
        name = escape(gain.name.removeprefix("val/"))
        rows += f"<tr><td>{name}</td><td>{_cell(gain.before)}</td><td>{_cell(gain.after)}</td><td>{points}</td></tr>"
    how = dict.fromkeys(gain.after.how for gain in found)
    first, last = found[0].first, found[0].last
    heads = f"<th></th><th>{_when(first)}</th><th>{_when(last)}</th><th>change, in points (95%)</th>"
    return _table("Before and after", heads, rows, how)


def _table(heading: str, heads: str, rows: str, how: Iterable[str]) -> str:
    rules = "; ".join(how)
    note = f'<p class="soft">In brackets: 95% interval; {escape(rules)}.</p>' if rules else ""
    table = f'<div class="scroll"><table><tr>{heads}</tr>{rows}</table></div>'
    return f'<h2>{heading}</h2><div class="panel">{table}{note}</div>'


def _when(iteration: int) -> str:
    return f"after {iteration:,} iteration{'s' if iteration != 1 else ''}" if iteration else "before training"


def _comparison(groups: Sequence[RunGroup]) -> str:
    """One row per group."""
    tables = [{gain.name: gain for gain in gains(group)} for group in groups]
    names = [name for name in dict.fromkeys(name for table in tables for name in table) if "/avg@" in name][:3]
    heads = "<th></th><th>seeds</th>" + "".join(
        f"<th>{escape(name.removeprefix('val/'))}, before</th><th>after</th><th>change, in points</th>"
        for name in names
    )
    heads += "<th>iterations</th><th>tokens</th><th>time</th><th>tokens per trained group</th>"
    rows, notes = "", {}
    for group, table in zip(groups, tables, strict=True):
        spent = mean_cost(group.runs)
        cells = [escape(group.label), str(len(group.runs))]
        for name in names:
            gain = table.get(name)
            if gain is None:
                cells += [UNKNOWN] * 3
                continue
            notes[gain.after.how] = True
            cells += [_cell(gain.before), _cell(gain.after), _signed(100 * (gain.after.mean - gain.before.mean))]
        cells += [
            f"{spent.iterations:,}",
            *(UNKNOWN if value is None else short(value) for value in (spent.tokens,)),
            UNKNOWN if spent.seconds is None else duration(spent.seconds),
            UNKNOWN if spent.tokens_per_trained is None else short(spent.tokens_per_trained),
        ]
        rows += f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    return _table("What was reached, and its cost", heads, rows, notes)
