"""Components of simulated radiographs."""
