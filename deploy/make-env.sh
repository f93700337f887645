#!/bin/sh
# Writes deploy/.env with fresh random secrets, once. Only compose.yaml should read it.
set -eu
cd "$(dirname "$0")"
if [ -e .env ]; then
    echo "deploy/.env is there already; nothing changed"
    exit 0
fi
# Letters and digits only: these travel in URLs and in JSON.
secret() { openssl rand -hex 24; }
umask 077
# Whole or not at all: a file that was cut off would be kept for good.
trap 'rm -f .env.draft' EXIT
cat >.env.draft <<END
POSTGRES_PASSWORD=$(secret)
POSTGRES_ORDER_PASSWORD=$(secret)
POSTGRES_INVENTORY_PASSWORD=$(secret)
POSTGRES_IDENTITY_PASSWORD=$(secret)
REDIS_PASSWORD=$(secret)
IDENTITY_KEY_ENCRYPTION_KEY=$(openssl rand -base64 32)
ORDER_CLIENT_SECRET=$(secret)
OPERATOR_CLIENT_SECRET=$(secret)
ACQUIRER_SECRET=$(secret)
DEMO_PASSWORD=$(openssl rand -hex 8)
GRAFANA_PASSWORD=$(openssl rand -hex 8)
END
mv .env.draft .env
echo "deploy/.env is written; the demo user's password is DEMO_PASSWORD in it"
