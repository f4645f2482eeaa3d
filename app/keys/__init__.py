"""The keys that sign access tokens: published, signing, retired."""
