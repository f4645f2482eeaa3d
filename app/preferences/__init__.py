"""What a person keeps with us: keys and JSON values."""
