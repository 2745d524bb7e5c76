"""Fields in, finished wells on disk out: what runs on the device, and what surrounds it."""
