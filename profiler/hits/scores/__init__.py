"""How far every well is from the negative controls, by one readout or by the whole profile."""
