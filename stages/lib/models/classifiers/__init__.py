"""Kinds of classifiers, rows of `nodules.classifiers`: each offers `Params` and `classifier(params, setting)`."""
