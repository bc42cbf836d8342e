"""Augmentation inside the compiled step, for the whole batch at once.

Each augmentation has two functions. `draw_<name>(key, ...) -> Draw` makes all random draws.
`apply_<name>(images, targets, draw)` is deterministic. Draws recorded from the PyTorch code can
therefore be replayed through it.
"""
