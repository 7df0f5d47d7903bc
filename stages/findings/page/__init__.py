"""The parts of the page of the findings benchmark."""
