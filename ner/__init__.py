"""Named entities: data, model, training, distillation, prediction."""
