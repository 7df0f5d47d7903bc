"""CheXagent-2 in a process of its own."""
