"""Where the work of a run is done: here, or on a cluster."""
