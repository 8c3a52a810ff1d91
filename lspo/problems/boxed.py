r"""The answer that a worked solution puts into a box, as MATH does: `\boxed{42}`."""

from __future__ import annotations

import re

BOX = re.compile(r"\\(?:boxed|fbox)(?:\s*\{|\s+)")


def last_boxed(solution: str) -> str | None:
    r"""What stands in the last box; None without one. Braces may be nested; MATH has a few boxes without any.

    Example:
        >>> last_boxed(r"First \boxed{1}, in all \boxed{\frac{1}{2}}."), last_boxed(r"so \boxed 7.")
        ('\\frac{1}{2}', '7.')
    """
    boxes = list(BOX.finditer(solution))
    if not boxes:
        return None
    rest = solution[boxes[-1].end() :]
    if not boxes[-1].group().endswith("{"):
        return (rest.split("$")[0].split() or [None])[0]
    depth = 1
    for place, sign in enumerate(rest):
        # An escaped brace, as of a set, comes in pairs too.
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return rest[:place].strip() or None
    return None
