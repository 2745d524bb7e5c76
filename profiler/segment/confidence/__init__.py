"""How likely each nucleus is right: what the network says of it, calibrated on labelled images."""
