"""What an operator touches: migrations, their environment, and the views."""
