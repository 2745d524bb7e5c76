"""Label images against truth: how many objects are right, and in which way the others are wrong."""
