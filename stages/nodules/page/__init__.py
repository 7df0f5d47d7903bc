"""What the section of the chapter shows: a module per part of the page."""
