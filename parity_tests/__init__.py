"""Proof that jaxvit and torch_ref are the same program. The only place that sees both."""
