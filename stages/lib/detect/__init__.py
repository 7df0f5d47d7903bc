"""Localization: detections, views, fusion, cutoffs, and one module per kind of localizer."""
