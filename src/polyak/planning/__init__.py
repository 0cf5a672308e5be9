"""Which strategy of transfer: probes, short measured trials, a choice; and the range test."""

from polyak.planning.plan import PlanResult, plan
from polyak.planning.probes import Backbone, ProbeResults

__all__ = ["Backbone", "PlanResult", "ProbeResults", "plan"]
