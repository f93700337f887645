#!/bin/bash
# Asks this container's admin listener whether it is ready. Bash speaks TCP, so the image needs no HTTP client.
set -euo pipefail
exec 3<>/dev/tcp/127.0.0.1/9090
printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 3 status <&3
[[ $status == *' 200 '* ]]
