"""Instance discrimination with few images, in PyTorch. See README.md."""
