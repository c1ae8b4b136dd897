"""fxsched starts sessions on any cluster: one request becomes exactly one session, or one clear error."""

__version__ = "0.1.0"
