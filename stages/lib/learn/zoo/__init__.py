"""Kinds of rows of `zoo.models`: each offers `Params`, `READS`, `fit` and `score`; see lib/learn/candidate.py."""
