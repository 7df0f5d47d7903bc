"""Parts of the page of the chapter lofi."""
