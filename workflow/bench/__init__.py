"""What the pipeline costs: counted exactly where it can be counted, measured in interleaved runs where it cannot."""
