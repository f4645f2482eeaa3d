"""Second factors and passkeys: what is kept of them, and how they are checked."""
