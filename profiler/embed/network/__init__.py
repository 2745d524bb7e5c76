"""Encoders of one cell's crop: a backbone shared by all stains, and what is made of its vectors."""
