"""A simulated FastX 4 node, to run launchers the way FastX runs them and see what becomes of their sessions."""

from fxsched_fakes.fastx.node import FastXNode
from fxsched_fakes.fastx.request import ABSENT
from fxsched_fakes.fastx.sessions import LaunchResult, Session, SessionState
from fxsched_fakes.fastx.weblink import Refusal, Report

__all__ = ["ABSENT", "FastXNode", "LaunchResult", "Refusal", "Report", "Session", "SessionState"]
