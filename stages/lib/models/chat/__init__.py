"""Conversations with models: requests and replies, the ledger of them, endpoints and models in process."""
