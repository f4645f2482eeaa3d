"""Each scenario finds what it is for, and nothing else: `make test-loadtests`. Locust stays out of this process."""
