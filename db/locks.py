"""The advisory locks of PostgreSQL, all of them, so that no two mean the same by chance."""

# whoever brings the schema to head, on whichever host; the last four digits count up
MIGRATION = 4_849_321_706
KEYS = 4_849_321_707  # whoever makes a signing key, so that two starts make one
FIRST_ADMIN = 4_849_321_708  # whoever makes the first administrator
CLEANUP = 4_849_321_711  # whoever cleans up, for a batch at a time
IMPORT = 4_849_321_712  # whoever writes a batch of an import
CENSUS = 4_849_321_713  # whoever counts all sessions
PREFERENCES = 4_849  # in the upper 16 of 64 bits, above a user's id: whoever writes his preferences
IDENTITIES = 4_849_712  # the first of two halves; the second is of an issuer and its subject: whoever links them
ACTIVITY = 4_849_321_714  # whoever counts the audit, for a batch at a time
