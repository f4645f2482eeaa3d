"""The load harness: its verdict, and that its hunt finds what it is for. Locust stays out of this process."""
