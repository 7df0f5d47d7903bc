"""Parameters, errors, tables, files, log, progress, shards, code closure, provenance."""
