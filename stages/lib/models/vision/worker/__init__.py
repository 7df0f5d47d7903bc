"""The program that holds a vision model, in the vision environment. Its imports of the project end here."""
