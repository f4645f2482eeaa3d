"""The shipped configurations of nginx and HAProxy at work. Run by `make test-proxies`: both come from Debian."""
