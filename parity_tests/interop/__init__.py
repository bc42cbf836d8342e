"""Weights of other libraries, against the libraries themselves."""
