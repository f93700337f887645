#!/bin/bash
# One database and one owner per service: none can read another's tables. Runs once, when the data directory is new.
set -euo pipefail
for service in order inventory identity; do
    variable="POSTGRES_${service^^}_PASSWORD"
    psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set=name="amends_$service" --set=password="${!variable}" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
