"""The rooms that all tasks share: text, model files, BERT, training, compression, measurement, serving."""
