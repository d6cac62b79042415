"""Training: the loop, its devices, its state on disk, its log."""
