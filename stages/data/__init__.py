"""From a folder of images to normalized squares and a split."""
