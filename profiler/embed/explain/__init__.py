"""What in a cell's picture a network goes by: maps, shares and changes, all on the device.

`line.py` says what is explained. `gradients.py`, `cam.py` and `rollout.py` are maps, `occlude.py`
is what happens without a part, `inside.py` whose pixels count, and `explainer.py` puts them
together for crops at hand.
"""
