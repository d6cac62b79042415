"""Sentiment of many aspects at once: data, model, training, distillation, prediction."""
