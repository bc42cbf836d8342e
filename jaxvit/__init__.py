"""Vision Transformers in JAX/Flax, the same program as the PyTorch ones in torch_ref."""
