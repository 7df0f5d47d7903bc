"""Kinds of retrievers of similar cases. A kind offers `Params` and `retriever(params, setting)`."""
