"""
Check the built pages: internal links lead somewhere, and no page loads anything from elsewhere.

    python docs/check_links.py docs/_build/html
"""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

LOADED = {"img": "src", "script": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself; other links are followed by readers."""


@cache
def parsed(page: Path) -> BeautifulSoup:
    """Read a page."""
    return BeautifulSoup(page.read_text(), "html.parser")


@cache
def anchors(page: Path) -> set[str]:
    """Collect what a link may point to within a page."""
    return {tag["id"] for tag in parsed(page).find_all(id=True)}


def faults(folder: Path) -> Iterator[str]:
    """
    Find what is wrong.

    :param folder: of the built pages
    :return: a line for each fault
    """
    for page in sorted(folder.rglob("*.html")):
        for tag in parsed(page).find_all(["a", *LOADED]):
            link = tag.get(LOADED.get(tag.name, "href"))
            if not link:
                continue
            fault = _fault(page, link, is_loaded=tag.name in LOADED)
            if fault:
                yield f"{page.relative_to(folder)}: {link}: {fault}"


def _fault(page: Path, link: str, *, is_loaded: bool) -> str:
    parts = urlsplit(link)
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        return "loaded from elsewhere" if is_loaded else ""
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
    if not target.is_file():
        return "no such file"
    fragment = unquote(parts.fragment)
    if fragment and target.suffix == ".html" and fragment not in anchors(target):
        return "no such place in it"
    return ""


def main() -> int:
    """Print the faults; return the exit status."""
    folder = Path(sys.argv[1]).resolve()
    found = list(faults(folder))
    print(*found, sep="\n")
    n_pages = len(list(folder.rglob("*.html")))
    print(f"{n_pages} pages, {len(found)} faults")
    return 1 if found or not n_pages else 0


if __name__ == "__main__":
    sys.exit(main())
