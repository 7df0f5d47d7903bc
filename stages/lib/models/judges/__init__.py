"""Kinds of judges: what rates an answer. A kind offers `Params` and `judge(params, setting)`."""
