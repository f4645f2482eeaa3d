"""What administrators see of what happened: the audit trail, and what was counted of it."""
