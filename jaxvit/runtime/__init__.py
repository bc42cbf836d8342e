"""Where programs run: devices, processes, compilation, memory and signals."""
