"""Dose series: logistic curves with intervals, and what they show without a formula."""
