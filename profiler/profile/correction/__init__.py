"""What position, count, batch and a few extreme features do to profiles, taken out."""
