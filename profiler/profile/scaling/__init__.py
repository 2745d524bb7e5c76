"""Plates on one scale, each by its own reference."""
