#!/bin/sh
# Imports the data view, the searches and the dashboard. Again overwrites them with what is here.
set -eu
here="$(dirname "$0")"
answer="$(curl --silent --show-error --fail-with-body --retry 10 --retry-connrefused \
    --request POST "$KIBANA_URL/api/saved_objects/_import?overwrite=true" \
    --header 'kbn-xsrf: setup' --form "file=@$here/saved-objects.ndjson;type=application/ndjson")"
echo "$answer"
case "$answer" in
*'"success":true'*) ;;
*) exit 1 ;;
esac
# What Discover opens with.
curl --silent --show-error --fail-with-body --request POST "$KIBANA_URL/api/data_views/default" \
    --header 'kbn-xsrf: setup' --header 'content-type: application/json' \
    --data '{"data_view_id":"amends-logs","force":true}'
echo
