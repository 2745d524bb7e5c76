"""Drawings as SVG text: axes, colours, plates, curves, points and bars. They know no run."""
