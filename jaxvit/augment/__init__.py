"""Augmentation inside the compiled step, over the whole batch at once.

Each one is `draw_<name>(key, ...) -> Draw`, which holds all the randomness, and
`apply_<name>(images, targets, draw)`, which is deterministic: so draws recorded from the PyTorch
code can be replayed through it.
"""
