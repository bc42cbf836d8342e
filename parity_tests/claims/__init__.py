"""The claims of the certificate: one file each, with a TITLE and measure(quick) -> Evidence.

`quick` makes sizes and samples small enough for all of them together to end in two minutes.
"""
