"""How the channels of each object go together, pair by pair."""
