"""Benchmark of JAX against PyTorch for this ViT: `python -m jaxvit.speed --help`."""
