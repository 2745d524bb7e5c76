"""How evenly each plate is lit: fitted from a sample of its fields, kept in the run folder."""
