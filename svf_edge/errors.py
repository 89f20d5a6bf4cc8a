"""Errors a user can act on: one sentence with the file, the value and the fix."""

from __future__ import annotations


class SvfError(Exception):
    """Base of every error that svf-edge raises on purpose. The command line prints it without a traceback."""


class BadFile(SvfError):
    """A file is missing, truncated, of another kind or otherwise unusable."""


class ContractMismatch(SvfError):
    """A file was written under another version of the numeric or packing contract."""


class RangeError(SvfError):
    """A range proof failed: an accumulator could leave the numbers its carrier holds exactly."""


class UnsupportedInput(SvfError):
    """Frames, sizes or options that the program at hand does not take."""


class MissingPackage(SvfError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"package '{package}' is not installed; install it with: pip install 'svf-edge[{extra}]'")


class MissingLibrary(SvfError):
    """A native library of ours was not found or could not be loaded."""
