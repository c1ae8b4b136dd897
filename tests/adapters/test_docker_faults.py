"""Every fault of the simulated container engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..contract.faults import ENDED, NOT_CANCELLED, REFUSED, SILENCE, FaultContract
from .docker_site import FakeDocker, FakePodman

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..contract.faults import Outcome


def exceptions(engine: str) -> dict[tuple[str, str], Mapping[str, Outcome | None]]:
    return {
        # Whatever it is that an engine complains of, what it has made is removed then: there is certainly none.
        ("submit", f"{engine} run"): {"fail": REFUSED},
        # The name only tells the cause of the end.
        ("cancel", f"{engine} rename"): dict.fromkeys(("fail", "hang", "garbage", SILENCE), ENDED),
        # What is not stopped is killed, which is another command.
        ("cancel", f"{engine} stop"): dict.fromkeys(("fail", "hang", "garbage", SILENCE), ENDED),
    }


class TestFakeDocker(FaultContract):
    kind = FakeDocker
    exceptions = exceptions("docker")
    unseen = NOT_CANCELLED  # it looks at a container before it ends it


class TestFakePodman(FaultContract):
    kind = FakePodman
    exceptions = exceptions("podman")
    unseen = NOT_CANCELLED
