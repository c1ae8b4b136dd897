"""The part of Go's templates that people use with engines: `{{.A.B}}`, `{{json .A}}`, `{{index .A "b"}}`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

_ACTION = re.compile(r'\{\{\s*(?:(json)\s+)?(?:index\s+)?\.([A-Za-z.]*)(?:\s+"([^"]*)")?\s*\}\}')
_HEADERS = {"ID": "CONTAINER ID"}


def render(template: str, values: Mapping[str, object]) -> str:
    """The template with its actions carried out."""

    def value(action: re.Match[str]) -> str:
        found: object = values
        for name in filter(None, [*action[2].split("."), action[3]]):
            found = found.get(name, "") if isinstance(found, Mapping) else ""
        if action[1]:
            return json.dumps(found, separators=(",", ":"), ensure_ascii=False)
        return str(found).lower() if isinstance(found, bool) else str(found)

    return _ACTION.sub(value, template)


def table(template: str, rows: Iterable[Mapping[str, object]]) -> str:
    """A row for each, below a header if the template begins with the word `table`."""
    word, _, rest = template.partition(" ")
    lines = [render(rest if word == "table" else template, row) for row in rows]
    if word == "table":
        lines.insert(0, _ACTION.sub(lambda action: _HEADERS.get(action[2], action[2].upper()), rest))
    return "".join(f"{line}\n" for line in lines)
