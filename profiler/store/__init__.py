"""The run folder: written whole or not at all, resumed by content, read lazily. Never JAX."""
