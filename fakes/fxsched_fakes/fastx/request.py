"""What a FastX 4 node gives to a launcher: the JSON request on stdin, and the environment.

Members and their meaning are documented by StarNet; of the environment, only FX_CONFIG_DIR and FX_ROOT_DIR are.
"""

import json
import os
import pwd
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

from fxsched_fakes.fastx.installation import Installation


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""In place of a value: leave this member of the request, or this variable of the environment, out."""


def request_json(
    installation: Installation,
    home: str,
    start: Mapping[str, Any],
    weblink: Mapping[str, Any] | None,
    changes: Mapping[str, Any],
) -> bytes:
    """The launcher's stdin, with the caller's `changes` to its members."""
    user = pwd.getpwuid(os.getuid())
    request: dict[str, Any] = {
        "socketFile": str(installation.local / "socket"),
        "rootDir": str(installation.root),
        "varDir": str(installation.var),
        "configDir": str(installation.config),
        "localDir": str(installation.local),
        "tmpDir": str(installation.tmp),
        "uid": user.pw_uid,
        "gid": user.pw_gid,
        "homedir": home,
        "shell": user.pw_shell,
        "login": user.pw_name,
        "defaultStartScript": "$FX_ROOT_DIR/scripts/start",
        "start": start,
    }
    if weblink is not None:
        request["weblink"] = {"logLevel": "debug", **weblink, "login": user.pw_name}
    return json.dumps(_changed(request, changes)).encode()


def environment(installation: Installation, home: Path, changes: Mapping[str, Any]) -> dict[str, str]:
    """The launcher's environment, with the caller's `changes`; nothing else of our own environment gets in."""
    user = pwd.getpwuid(os.getuid())
    usual: dict[str, Any] = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": user.pw_shell,
        "LANG": "C.UTF-8",
        "FX_ROOT_DIR": str(installation.root),
        "FX_CONFIG_DIR": str(installation.config),
        "FX_VAR_DIR": str(installation.var),
        "FX_LOCAL_DIR": str(installation.local),
        "FX_TEMP_DIR": str(installation.tmp),
        "FASTX_SERVICE": "1",
    }
    return _changed(usual, changes)


def _changed(members: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (members | dict(changes)).items() if value is not ABSENT}
