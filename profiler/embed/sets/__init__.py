"""Teaching a set aggregator: from the cells of a well to one profile that replicates share."""
