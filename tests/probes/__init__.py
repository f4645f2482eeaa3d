"""The probes of Kubernetes, asked as a kubelet asks them while stores break: `make test-probes`."""
