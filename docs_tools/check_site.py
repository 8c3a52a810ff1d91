"""Checks the built site: links, anchors and images lead somewhere, nothing comes from the network, names have a place.

    python docs_tools/check_site.py site

The builder sees links between pages, and neither images nor what a page loads.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from reference import places

LOADS = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "link": "href"}
NOT_LOADED = {"canonical", "next", "prev", "alternate", "edit"}


@dataclass
class Page(HTMLParser):
    """What a page links to, loads and has anchors for."""

    path: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    without_text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADS and given.get(LOADS[tag]) and given.get("rel") not in NOT_LOADED:
            self.loads.append(given[LOADS[tag]])
        if tag == "img" and not given.get("alt"):
            self.without_text.append(given.get("src", "?"))


def check(site: Path) -> list[str]:
    """What is wrong, one line per fault."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    faults = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        faults += [f"{name}: image {source} has no text beside it (alt)" for source in page.without_text]
        for target in page.loads:
            if urlsplit(target).scheme or target.startswith("//"):
                if not target.startswith("data:"):
                    faults.append(f"{name}: loads {target} from the network")
            elif not (path.parent / unquote(urlsplit(target).path)).exists():
                faults.append(f"{name}: {target} is missing")
        faults += [f"{name}: {fault}" for target in page.links if (fault := broken(path, target, pages))]
    faults += from_network(site)
    return faults + without_place(pages.values())


def broken(path: Path, target: str, pages: dict[Path, Page]) -> str | None:
    """Why a link within the site leads nowhere."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
        return None
    there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    there = there / "index.html" if there.is_dir() else there
    if not there.exists():
        return f"the link {target} leads to no file"
    if parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].ids:
        return f"the link {target} leads to no anchor"
    return None


def from_network(site: Path) -> list[str]:
    """Fonts and pictures that a style sheet loads from elsewhere."""
    found = []
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        found += [
            f"{path.name}: loads {url}" for url in re.findall(r"(?:url\(|@import )[\"']?(https?://[^\"')]+)", text)
        ]
    return found


def without_place(pages: object) -> list[str]:
    """Public names that no page has an anchor for."""
    anchors: set[str] = set().union(*(page.ids for page in pages))  # type: ignore[attr-defined]
    names = [f"{place}.{name}" for place, names in places().items() for name in names]
    return [f"{name} has no place in the reference" for name in names if name not in anchors]


def main() -> None:
    """Prints the faults; status 1 if there are some."""
    site = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
    faults = check(site)
    print("\n".join(faults) or f"{site}: links, anchors and images are there, and nothing is loaded from elsewhere.")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
