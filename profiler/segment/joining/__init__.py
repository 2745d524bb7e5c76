"""Pieces of one nucleus that a network took apart, joined by what is seen where they touch."""
