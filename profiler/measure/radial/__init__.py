"""How light is spread from each object's centre to its edge."""
