"""Kinds of localizers, rows of `nodules.localizers`: each module offers `Params` and `localizer(params, setting)`."""
