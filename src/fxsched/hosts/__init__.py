"""Where commands run. A host knows nothing of schedulers; an adapter knows nothing of processes and sockets."""

from fxsched.hosts.base import CommandResult, Host
from fxsched.hosts.local import LocalHost

__all__ = ["CommandResult", "Host", "LocalHost"]
