"""Kinds of frozen encoders of images. A kind offers `Params` and `encoder(params, found)`."""
