"""Draws the pictures of the documentation into docs/assets/*.svg.

    python docs_tools/pictures.py

Lines and letters have the colour of the text around them, so that they are readable in light and dark. As files (README)
they follow the reader's setting; the site puts them into the page, where they follow its switch.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs/assets"
BLUE, ORANGE, GREY = "#3d8bd9", "#d9822b", "#8b949e"
STYLE = """<style>
.pic { color: #1f2328 } @media (prefers-color-scheme: dark) { .pic { color: #e6edf3 } }
</style>"""
SMALL, NORMAL = 13, 15


def text(x: float, y: float, words: str, *, size: int = NORMAL, anchor: str = "middle", bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}"{weight} fill="currentColor">{words}</text>'


def box(x: float, y: float, w: float, h: float, *lines: str, colour: str = "currentColor", fill: float = 0.0) -> str:
    """A box with a bold first line."""
    middle = y + h / 2 - 9 * (len(lines) - 1) + 5
    words = [
        text(x + w / 2, middle + 19 * place, line, size=NORMAL if not place else SMALL, bold=not place)
        for place, line in enumerate(lines)
    ]
    shape = (
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="7" fill="{colour}" fill-opacity="{fill}" '
        f'stroke="{colour}" stroke-width="1.5"/>'
    )
    return shape + "".join(words)


def arrow(*points: tuple[float, float]) -> str:
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    return f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.5" marker-end="url(#tip)"/>'


def line(x1: float, y1: float, x2: float, y2: float, *, colour: str = "currentColor", dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="M{x1} {y1} L{x2} {y2}" stroke="{colour}" stroke-width="1.5"{dash} fill="none"/>'


def dot(x: float, y: float, colour: str, *, filled: bool = True, radius: float = 6) -> str:
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{colour if filled else "none"}" stroke="{colour}" stroke-width="1.5"/>'


def write(name: str, width: int, height: int, label: str, *parts: str) -> None:
    tip = (
        f'<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L10 5 L0 10 z" fill="currentColor"/></marker></defs>'
    )
    tip, parts = tip.replace('"tip"', f'"tip-{name}"'), tuple(part.replace("#tip", f"#tip-{name}") for part in parts)
    body = "\n".join((STYLE, tip, *parts))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pic" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{label}" font-family="system-ui, sans-serif">\n{body}\n</svg>\n'
    )
    (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")


def loop() -> None:
    names = [
        ("Prompts", "their order", "is saved"), ("Engine", "transformers", "or vLLM"), ("Reward", "accuracy", "and reward"),
        ("Selector", "accuracy band", "length band"), ("Policy", "log-probs", "objective"),
    ]  # fmt: skip
    parts = []
    for place, lines in enumerate(names):
        x = 10 + 172 * place
        colour, fill = (BLUE, 0.14) if lines[0] == "Selector" else ("currentColor", 0.0)
        parts.append(box(x, 40, 132, 86, *lines, colour=colour, fill=fill))
        if place:
            parts.append(arrow((x - 38, 83), (x - 3, 83)))
    parts += [
        arrow((592, 128), (592, 160), (248, 160), (248, 129)),
        text(420, 154, "too few groups kept: another round", size=SMALL),
        arrow((764, 128), (764, 200), (228, 200), (228, 129)),
        text(500, 194, "new weights: the next iteration", size=SMALL),
        text(75, 26, "problems", size=SMALL), text(345, 26, "G responses per prompt: a group", size=SMALL),
        text(678, 26, "N groups", size=SMALL),
    ]  # fmt: skip
    label = "Prompts go to the engine, responses to the reward, groups to the selector, kept groups to the policy; new weights go back to the engine"
    write("loop", 840, 212, label, *parts)


def group() -> None:
    parts = [box(10, 60, 170, 60, "One prompt", "37 + 19 = ?")]
    rows = [("56", True, 60), ("Let me see ... 56", True, 150), ("46", False, 60), ("37 + 19 ... 55", False, 130)]
    for place, (words, right, length) in enumerate(rows):
        y = 28 + 42 * place
        parts.append(arrow((182, 90), (257, y)))
        colour = BLUE if right else GREY
        parts.append(
            f'<rect x="262" y="{y - 13}" width="{length}" height="26" rx="5" fill="{colour}" fill-opacity="0.25" stroke="{colour}"/>'
        )
        parts.append(text(262 + length / 2, y + 5, words, size=SMALL))
        parts.append(text(440, y + 5, "accuracy 1" if right else "accuracy 0", size=SMALL, anchor="start"))
        parts.append(text(540, y + 5, f"advantage {'+' if right else '-'}", size=SMALL, anchor="start"))
    parts += [
        text(262, 196, "G = 4 responses", size=SMALL, anchor="start"),
        text(440, 196, "accuracy of the group 0.5", size=SMALL, anchor="start"),
    ]
    write("group", 680, 208, "A prompt with four responses, two of them right", *parts)


def rounds() -> None:
    parts = [
        text(10, 30, "one iteration", anchor="start", bold=True),
        line(10, 40, 600, 40),
        line(600, 34, 600, 46),
        line(10, 34, 10, 46),
    ]
    for place, (width, seen) in enumerate(((210, 24), (140, 14), (70, 6))):
        x = 10 + sum((210, 140, 70)[:place]) + 10 * place
        parts.append(box(x, 60, width, 92))
        parts.append(text(x + width / 2, 80, f"round {place + 1}", size=SMALL))
        for number in range(seen):
            parts.append(
                dot(
                    x + 18 + 17 * (number % max(1, (width - 20) // 17)),
                    98 + 18 * (number // max(1, (width - 20) // 17)),
                    BLUE if number % 2 == 0 else GREY,
                    filled=number % 2 == 0,
                )
            )
    parts += [
        box(470, 60, 130, 92, "training", "N groups,", "some steps", colour=ORANGE, fill=0.12),
        arrow((602, 106), (650, 106)), text(706, 100, "next iteration,", size=SMALL), text(706, 118, "new weights", size=SMALL),
        dot(18, 178, BLUE), text(32, 183, "group that is kept", size=SMALL, anchor="start"),
        dot(200, 178, GREY, filled=False), text(214, 183, "group that is dropped", size=SMALL, anchor="start"),
    ]  # fmt: skip
    write(
        "rounds",
        770,
        195,
        "An iteration makes rounds of generation until enough groups are kept, and then trains",
        *parts,
    )


def pool() -> None:
    counts = [1, 3, 6, 9, 11, 12, 12, 11, 10, 8, 7, 6, 5, 4, 3, 2, 2, 1, 1, 1]
    parts, total, seen = [], sum(counts), 0
    bounds = {}
    for place, count in enumerate(counts):
        share = seen / total
        for name, quantile in (("30%", 0.3), ("65%", 0.65), ("95%", 0.95)):
            if share < quantile <= (seen + count) / total:
                bounds[name] = 60 + 30 * (place + 1)
        end = (seen + count) / total
        colour = (
            BLUE
            if end <= 0.42
            else ORANGE
            if bounds.get("65%", 999) <= 60 + 30 * place < bounds.get("95%", 999)
            else GREY
        )
        height = 11 * count
        parts.append(
            f'<rect x="{60 + 30 * place + 2}" y="{170 - height}" width="26" height="{height}" fill="{colour}" '
            f'fill-opacity="{0.3 if colour == GREY else 0.75}"/>'
        )
        seen += count
    parts += [line(60, 170, 665, 170), text(362, 216, "mean length of a group's responses, in tokens", size=SMALL)]
    for name, x in bounds.items():
        parts += [line(x, 22, x, 174, dashed=True), text(x, 190, name, size=SMALL)]
    middle = (bounds["30%"] + bounds["65%"]) / 2
    parts += [
        text((60 + bounds["30%"]) / 2, 14, "short: kept", size=SMALL), text(middle, 14, "middle: dropped", size=SMALL),
        text((bounds["65%"] + bounds["95%"]) / 2, 14, "long: kept", size=SMALL), text(bounds["95%"] + 8, 40, "too long: dropped", size=SMALL, anchor="start"),
    ]  # fmt: skip
    write("pool", 720, 226, "Lengths of the groups of a pool, with the bounds at 30, 65 and 95 percent", *parts)


def surplus() -> None:
    parts = [text(110, 20, "kept groups of an iteration", size=SMALL)]
    for number in range(35):
        parts.append(dot(20 + 20 * (number % 10), 40 + 20 * (number // 10), BLUE))
    parts += [
        arrow((225, 60), (290, 44)), arrow((225, 80), (290, 128)),
        box(295, 16, 170, 56, "N = 32 groups", "trained on now", colour=ORANGE, fill=0.12),
        box(295, 100, 170, 56, "surplus: 3 groups", "kept, not needed", colour=GREY, fill=0.12),
        arrow((467, 118), (540, 104)), arrow((467, 138), (540, 152)),
        text(546, 108, "max_age=0: dropped, and counted", size=SMALL, anchor="start"),
        text(546, 158, "max_age=1: first in the next iteration", size=SMALL, anchor="start"),
    ]  # fmt: skip
    write(
        "surplus",
        810,
        172,
        "Groups that are kept but not needed are surplus: dropped, or trained on in the next iteration",
        *parts,
    )


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for draw in (loop, group, rounds, pool, surplus):
        draw()


if __name__ == "__main__":
    main()
