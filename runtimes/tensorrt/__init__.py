"""TensorRT: engines of a bundle's qdq graph, built anywhere, run where an NVIDIA GPU is, here or on a device."""

from svf_edge.runtimes.tensorrt.harness import TensorRT
from svf_edge.runtimes.tensorrt.report import TensorRTReport, tensorrt_report

__all__ = ["TensorRT", "TensorRTReport", "tensorrt_report"]
