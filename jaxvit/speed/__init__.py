"""Which framework is faster for this ViT, on this machine: `python -m jaxvit.speed --help`."""
