"""Haralick's textures: how often grey levels lie beside one another."""
