"""Kinds of arms: what stands behind an answer. A kind offers `Params` and `responder(params, setting)`.

A kind without a model says so by `HAS_MODEL = False`.
"""
