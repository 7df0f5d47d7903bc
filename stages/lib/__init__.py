"""Library of the stages: eight rooms, with imports downwards only."""
