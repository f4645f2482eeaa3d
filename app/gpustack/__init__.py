"""GPUStack as a source of passwords: asked, understood, and done without while it is away."""
