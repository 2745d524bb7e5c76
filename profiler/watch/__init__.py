"""A night of plates: each is run as soon as it is complete, and nobody need look on.

`loop.watch` is the whole of it, a generator of `events`; `inbox` says what is there and
`complete` when a plate may be taken; `status` and `nights` are what stays on the disk.
"""
