"""Judgments of language models as data: scores as probabilities, consistency, bias, calibration, aggregation."""
