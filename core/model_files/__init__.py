"""Model files on disk: found, opened, described, run."""
