"""Parts of the chapter's page."""
