"""One-time tokens: what somebody who reads the mail of an address can prove it with."""
