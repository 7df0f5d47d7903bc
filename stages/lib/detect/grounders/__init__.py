"""Kinds of grounders: who draws the boxes of a sentence. Each offers `Params` and `grounder(params, setting)`."""
