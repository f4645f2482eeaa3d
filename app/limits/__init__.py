"""How often somebody may try: failed logins by reservation, registrations by moving window."""
