"""What a device says about itself and about the state it is in: recorded beside every measurement, never assumed."""

from svf_edge.runtimes.devices.conditions.identity import Identity, identify
from svf_edge.runtimes.devices.conditions.snapshot import Conditions, observe

__all__ = ["Conditions", "Identity", "identify", "observe"]
