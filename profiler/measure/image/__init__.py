"""The whole field's own features: intensity, focus, saturation, thresholds."""
