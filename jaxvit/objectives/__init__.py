"""Targets, losses and metrics: functions of arrays, without a model and without data."""
