"""The granular spectrum: how much light lies in bright areas of each size."""
