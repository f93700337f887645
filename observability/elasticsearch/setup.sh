#!/bin/sh
# Puts life cycle and index template into Elasticsearch. Again is nothing.
set -eu
here="$(dirname "$0")"
put() {
    curl --silent --show-error --fail-with-body --retry 10 --retry-connrefused \
        --request PUT "$ELASTICSEARCH_URL/$1" --header 'content-type: application/json' --data-binary "@$here/$2"
    echo
}
put _ilm/policy/microservices-logs lifecycle-policy.json
put _index_template/microservices-logs index-template.json
