"""Labelled images in, a network out: `profiler train segmenter`."""
