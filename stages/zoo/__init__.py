"""Is the 4B model worth it? Probes, CNNs, other models and a trained localizer, on the study's split."""
