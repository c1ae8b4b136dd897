"""What msub's options ask for. Unknown options are ignored: so does Maui, whose code Moab's clients grew from."""

from __future__ import annotations

from ..frame import CommandError

_WITH_VALUE = "aAcCdejlmMNopqrStvW"
_UNITS = {"kb": 1 / 1024, "mb": 1, "gb": 1024, "tb": 1024**2, "b": 1 / 1024**2}


class Request:
    """A job as msub was asked for it. Memory in MiB, of the whole job."""

    def __init__(self, arguments: list[str]) -> None:
        self.options: dict[str, str] = {}
        self.limits: dict[str, str] = {}
        self.flags: set[str] = set()
        self.words: list[str] = []  # the script, if it is a file, and its arguments
        words = list(arguments)
        while words:
            word = words.pop(0)
            if word.startswith("--"):
                self.flags.add(word)
            elif word.startswith("-") and len(word) > 1:
                self._letters(word, words)
            else:
                self.words = [word, *words]
                break
        self._read_nodes()
        self.name = self.options.get("-N", "STDIN")
        self.held = "-h" in self.flags
        self.environment = "-V" in self.flags
        self.joined = self.options.get("-j") == "oe"
        self.exclusive = self.limits.get("naccesspolicy", "").lower() == "singlejob"
        self.memory = self._read_memory()

    def _letters(self, word: str, words: list[str]) -> None:
        if word[1] not in _WITH_VALUE:
            self.flags.add(word[:2])
            return
        value = word[2:] or (words.pop(0) if words else "")
        if word[1] == "l":
            for part in value.split(","):
                name, _, text = part.partition("=")
                self.limits[name] = text
        else:
            self.options[word[:2]] = value

    def _read_nodes(self) -> None:
        count, *parts = self.limits.get("nodes", "1").split(":")
        counts = dict(part.partition("=")[::2] for part in parts)
        try:
            self.nodes, self.cores, self.gpus = (int(n) for n in (count, counts.get("ppn", 1), counts.get("gpus", 0)))
        except ValueError:
            raise CommandError(f"ERROR:    invalid resource specified: nodes={self.limits['nodes']}\n") from None

    def _read_memory(self) -> int:
        text = self.limits.get("mem", "0mb").lower()
        unit = text.lstrip("0123456789")
        if unit not in _UNITS:
            raise CommandError(f"ERROR:    invalid resource specified: mem={text}\n")
        return round(int(text.removesuffix(unit)) * _UNITS[unit] + 0.4999)
