"""The demo study: synthetic images and tiny models."""
