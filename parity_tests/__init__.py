"""Tests that jaxvit and torch_ref compute the same. The only package that imports both."""
