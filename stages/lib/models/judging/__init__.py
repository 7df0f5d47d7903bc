"""Judging: rubrics, what a judge is asked, how its verdict is read, and what is done about one that cannot be read."""
