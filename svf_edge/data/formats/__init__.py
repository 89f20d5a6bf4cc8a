"""Pose data sets in the formats their authors publish: a reader and a writer for each."""
