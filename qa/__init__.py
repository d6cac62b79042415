"""Extractive question answering: data, model, training, distillation, prediction."""
