"""Fine-tuning of pretrained Vision Transformers in PyTorch. See README.md."""
