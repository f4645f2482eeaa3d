"""How requests are refused."""
