"""The Vision Transformer, member for member the one in torch_ref."""
