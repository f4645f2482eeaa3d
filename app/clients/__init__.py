"""Other services that may ask about tokens: registered clients, introspection, revocation."""
