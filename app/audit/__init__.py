"""What happened: one row an event, in the transaction of what it records."""
