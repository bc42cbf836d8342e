"""Targets, losses and metrics: functions of arrays, independent of models and data sets."""
