"""Kinds of judges: what rates an answer. What a kind offers is said in `stages.lib.models.judge`."""
