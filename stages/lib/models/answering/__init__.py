"""Models that are asked about an image: a module for each class, with `load(params, setting) -> Answerer`."""
