"""What `measure` is made of: its parameters and results, classifiers, and localizers."""
