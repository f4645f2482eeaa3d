"""The files of deploy/: that they fit the service, and each other."""
