"""Representations that know where: training, retrieval, and grounding by retrieved examples."""
