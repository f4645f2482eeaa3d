"""Mail: written in the transaction of what causes it, sent beside all requests (docs/mail.md)."""
