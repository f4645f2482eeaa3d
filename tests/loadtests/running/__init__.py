"""The hunt, `scale`, `attack` and `rolling` find what they are for: `make test-loadtests`.

Locust stays out of this process.
"""
