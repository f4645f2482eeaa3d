"""The load harness: its verdict and its search. Locust stays out of this process."""
