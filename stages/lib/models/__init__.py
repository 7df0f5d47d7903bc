"""Models: loading, prompts, adapters, features, isolated processes."""
