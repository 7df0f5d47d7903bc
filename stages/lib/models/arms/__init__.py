"""Kinds of arms: what stands behind an answer. A kind offers `Params` and `responder(params, setting)`."""
