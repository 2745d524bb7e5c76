"""Weights that others trained on photographs: read as they are published, kept as our models."""
