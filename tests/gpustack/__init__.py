"""GPUStack as a source of passwords: against a scripted server, and (`make test-gpustack`) against a real one."""
