"""Bundles: what goes to a device, with golden vectors so that it can test itself."""

from svf_edge.export.bundle.manifest import Manifest
from svf_edge.export.bundle.reader import Bundle
from svf_edge.export.bundle.writer import LIBRARIES, TARGETS, host_platform, write_bundle

__all__ = ["LIBRARIES", "TARGETS", "Bundle", "Manifest", "host_platform", "write_bundle"]
