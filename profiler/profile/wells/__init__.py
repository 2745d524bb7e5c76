"""From cells to wells that know what they hold."""
