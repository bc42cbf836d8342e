"""The survey on CIFAR-10 in PyTorch: ResNet, attention blocks, training tricks. See README.md."""
