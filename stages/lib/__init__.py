"""What stages share: one doctrine per file."""
