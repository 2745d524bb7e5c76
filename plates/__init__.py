"""What was imaged: wells, plate maps, readers, image sets, pixels. Never JAX."""
