"""Reading, preprocessing, geometry, data-set layouts, prefetch."""
