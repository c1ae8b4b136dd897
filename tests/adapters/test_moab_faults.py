"""Every fault of the simulated Moab and of what is below it."""

from __future__ import annotations

from ..contract.faults import ENDED, NONE_MADE, SILENCE, SILENT, TRUE, FaultContract
from .moab_site import MauiOverTorque, MoabOverSlurm, MoabOverTorque

MOAB = {
    # "cannot request service" is what it says at every such moment, before and after it has sent the request.
    ("submit", "msub"): {"munge": NONE_MADE},
    # The resource manager has said how the job stands; this would only be why it waits.
    ("status", "showq"): dict.fromkeys(SILENT, TRUE),
    ("cancel", "showq"): dict.fromkeys(SILENT, ENDED),
    # The resource manager ends what Moab does not.
    ("cancel", "canceljob"): dict.fromkeys(("fail", "hang", "garbage", SILENCE, "munge"), ENDED),
}
MAUI = {
    # Where there is no such job, qselect ends well and prints nothing.
    ("find", "qselect"): {SILENCE: None},
    # As of Moab's showq.
    ("status", "checkjob"): dict.fromkeys(SILENT, TRUE),
    ("cancel", "checkjob"): dict.fromkeys(SILENT, ENDED),
}


class TestMoabOverSlurm(FaultContract):
    kind = MoabOverSlurm
    exceptions = MOAB


class TestMoabOverTorque(FaultContract):
    kind = MoabOverTorque
    exceptions = MOAB


class TestMauiOverTorque(FaultContract):
    kind = MauiOverTorque
    exceptions = MAUI
