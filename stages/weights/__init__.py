"""Models: where they come from, and the right to use them."""
