"""What the simulated radiographs are made of."""
