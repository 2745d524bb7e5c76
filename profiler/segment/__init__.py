"""Images in, label images out: a network finds nuclei, cells grow around them."""
