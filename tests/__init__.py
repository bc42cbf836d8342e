"""Tests without a twin. A package, for torch-fidelity installs one of the same name."""
