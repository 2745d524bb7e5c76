"""From labelled cells to classes: who says what a cell is, and how far to believe it."""
