"""Ways of telling life from a picture, side by side: docs/methods.md tells of them.

Each module is a method. `new()` makes it; `fit(samples, labels)` learns from samples,
and `score(samples)` gives the probability, in [0, 1], that each shows a real face.
Samples are crops, (h, w, 3) uint8 BGR of any size, or a `Clip` each.
"""
