"""Charts, figures, galleries and numbers of the report."""
