"""Devices: run a bundle's self-test where it will be used, over ssh or adb, and keep what was found as a card."""
