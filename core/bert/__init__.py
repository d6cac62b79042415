"""The BERT encoder: its folder, its layers, its shape."""
