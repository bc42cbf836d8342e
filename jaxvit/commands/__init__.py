"""One file for each command of `python -m jaxvit`, with a function main(args) -> exit code."""
