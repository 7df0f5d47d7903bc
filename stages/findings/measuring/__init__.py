"""What `measure` is made of: its parameters, the tables of a study, arms, pairs of arms, judges, and costs."""
