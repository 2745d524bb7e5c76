"""What each part of the page shows, gathered from the tables of a run."""
