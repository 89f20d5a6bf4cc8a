"""svf-edge: SpikeVideoFormer from training to a Jetson or a phone."""

__version__ = "0.1.0"
