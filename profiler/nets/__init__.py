"""What networks of several stages share: a state that training advances, and files that keep it."""
