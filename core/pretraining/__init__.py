"""Pretraining on unlabelled text."""
