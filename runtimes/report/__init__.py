"""The report: one HTML page that needs nothing but itself, and the same as JSON."""

from svf_edge.runtimes.report.page import write_report

__all__ = ["write_report"]
