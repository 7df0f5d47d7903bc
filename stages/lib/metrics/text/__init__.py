"""Metrics of texts: findings in them, what two texts share, and what became of an answer."""
