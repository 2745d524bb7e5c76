"""Crops in, an encoder or a classifier out: one loop, an objective each by name."""
