"""Where a run's values go beside its directory, one file each; see jaxvit.runs.tracking."""
