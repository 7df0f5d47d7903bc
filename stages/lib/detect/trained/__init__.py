"""Kinds of rows of `zoo.localizers`: each offers `Params`, `fit` and `find`."""
