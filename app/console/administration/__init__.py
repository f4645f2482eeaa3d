"""Administration: pages over what the API does for who has the rights."""
