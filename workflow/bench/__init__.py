"""Cost of the pipeline: counted where it can be counted, else measured in interleaved runs."""
