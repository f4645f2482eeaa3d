"""Speed as ratios, each measured against a bare reference in the same run, on the same core, under the same server."""
