"""How Hypothesis is asked in tests: by no clock, for a machine may stand still for a second."""

from hypothesis import HealthCheck, settings

by_no_clock = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
