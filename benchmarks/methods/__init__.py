"""Liveness cues beside the network, compared on the same footage: docs/methods.md."""
