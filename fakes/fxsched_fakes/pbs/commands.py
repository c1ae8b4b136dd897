"""The commands that both have, in this dialect."""

from __future__ import annotations

from functools import partial

from ..pbs_family import holds
from ..pbs_family import qdel as deleting
from ..pbs_family import qselect as selecting
from ..pbs_family import qsub as submitting
from .dialect import DIALECT

qsub = partial(submitting.run, dialect=DIALECT)
qdel = partial(deleting.run, dialect=DIALECT)
qselect = partial(selecting.run, dialect=DIALECT)
qhold = partial(holds.qhold, dialect=DIALECT)
qrls = partial(holds.qrls, dialect=DIALECT)
