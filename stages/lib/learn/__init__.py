"""Training: loop, checkpoints, callbacks, samplers."""
