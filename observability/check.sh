#!/bin/sh
# Checks what can be checked without starting anything: rules and their tests, the files Prometheus and Alertmanager read,
# that every JSON file is one, and that each alert has its runbook. Needs promtool, amtool and python3
# (Debian: prometheus, prometheus-alertmanager).
set -eu
cd "$(dirname "$0")"
promtool check config prometheus/prometheus.yml
promtool test rules prometheus/tests/*.yml
amtool check-config alertmanager/alertmanager.yml
python3 - <<'END'
import glob, json, os, re, sys

for name in glob.glob("**/*.json", recursive=True):
    json.load(open(name))
for line in open("kibana/saved-objects.ndjson"):
    json.loads(line)

alerts = set(re.findall(r"- alert: (\w+)", open("prometheus/rules/alerts.yml").read()))
tested = set(re.findall(r"- alertname: (\w+)", open("prometheus/tests/alerts.yml").read()))
pages = {os.path.splitext(os.path.basename(page))[0] for page in glob.glob("../docs/runbooks/*.md")} - {"README"}
if alerts != pages or alerts - tested:
    sys.exit(f"alerts without page: {alerts - pages}; pages without alert: {pages - alerts}; untested: {alerts - tested}")
for name in glob.glob("grafana/dashboards/*.json"):
    panels = json.load(open(name))["panels"]
    ids = [panel["id"] for panel in panels]
    if len(ids) != len(set(ids)):
        sys.exit(f"{name}: two panels of one id")
print("dashboards, saved objects, alerts and runbooks fit together")
END
