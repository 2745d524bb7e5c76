"""The same steps for cells too many to hold."""
