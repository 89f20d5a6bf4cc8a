"""Exporters: an integer program to ONNX, ExecuTorch and TensorRT."""
