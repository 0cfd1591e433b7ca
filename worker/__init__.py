"""The service: the pump, the limiter, the ledger, the wire, webhooks, and the commands that run them."""
