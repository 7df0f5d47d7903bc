"""Which model, from where, with which right."""
