"""Cell crops in; vectors, classes and novelty out."""
