"""How good the plates are: how well controls are told apart, and what position and run order do."""
