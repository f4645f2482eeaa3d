"""Who people are: accounts, passwords, roles, and whatever answers a `User`."""
