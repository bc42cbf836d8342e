"""The laboratory's Vision Transformer in PyTorch: plain and readable, as it is taught."""
