"""Keeping the device busy: work done ahead, what it cost, and what is still to come."""
