#!/bin/bash
# PostgreSQL's image runs this once, when its directory is new: the role by which the service works, and owns nothing.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set password="$(cat /run/secrets/service_password)" <<'END'
CREATE ROLE gatehouse_service LOGIN PASSWORD :'password';
END
