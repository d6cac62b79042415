"""Compression: distillation, pruning, quantization, export."""
