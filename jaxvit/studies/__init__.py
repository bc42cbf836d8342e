"""Configurations times seeds, each trained as a user would train it, to a table and a figure."""
