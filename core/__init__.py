"""The rooms that all tasks share: text, model files, BERT, training, compression, measurement, serving."""

__version__ = "1.0.0"
