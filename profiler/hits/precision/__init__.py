"""Whether replicates find one another: average precision, and what it is by chance."""
