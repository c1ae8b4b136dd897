"""The directories of a simulated FastX installation, and the start scripts in them."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from fxsched_fakes.fastx import startscript


@dataclass(frozen=True)
class Installation:
    """Where the parts of an installation lie; the names are those of the launcher's request."""

    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "lib"

    @property
    def config(self) -> Path:
        return self.directory / "etc"

    @property
    def var(self) -> Path:
        return self.directory / "var"

    @property
    def local(self) -> Path:
        return self.var / "local"

    @property
    def tmp(self) -> Path:
        return self.directory / "tmp"

    @property
    def scripts(self) -> Path:
        return self.root / "scripts"

    @property
    def start(self) -> Path:
        """The start script for hosts inside the FastX cluster."""
        return self.scripts / "start"

    @property
    def start_weblink(self) -> Path:
        """The start script for hosts outside the FastX cluster."""
        return self.scripts / startscript.WEBLINK_SCRIPT

    def create(self) -> None:
        for directory in (self.scripts, self.config, self.local, self.tmp):
            directory.mkdir(parents=True, exist_ok=True)
        # A `#!` line carries one argument: -S and -E (no site, no PYTHON* variables) in one word.
        text = f"#!{sys.executable} -SE\n" + Path(startscript.__file__).read_text(encoding="utf-8")
        for script in (self.start, self.start_weblink):
            script.write_text(text, encoding="utf-8")
            script.chmod(0o755)

    def announce(self, url: str, uri: str, primary: str) -> None:
        """Tell `start` where its node is. `start-weblink` has to learn it from its environment."""
        file = self.scripts / "node.json"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            json.dump({"url": url, "uri": uri, "primary": primary}, stream)
