"""What is signed in: sessions, their tokens, and the caller of a request. Knows no users table."""
