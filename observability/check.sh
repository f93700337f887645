#!/bin/sh
# Checks what can be checked without starting anything: rules and their tests, the files Prometheus and Alertmanager read,
# that every JSON file is one, and that each alert has its runbook, a test in which it fires and one in which it does not. Needs promtool,
# amtool and python3 (Debian: prometheus, prometheus-alertmanager). `cargo xtask proof observability` runs it first.
set -eu
cd "$(dirname "$0")"
promtool check config prometheus/prometheus.yml
promtool test rules prometheus/tests/*.yml
amtool check-config alertmanager/alertmanager.yml alertmanager/mail.yml
python3 - <<'END'
import ast, glob, json, os, re, sys

for name in glob.glob("**/*.json", recursive=True):
    json.load(open(name))
for line in open("kibana/saved-objects.ndjson"):
    json.loads(line)
ast.parse(open("alertmanager/receiver.py").read())

rules = open("prometheus/rules/alerts.yml").read()
expressions = {
    name: "\n".join(line[10:] for line in expression.splitlines())
    for name, expression in re.findall(r"- alert: (\w+)\n +expr: \|\n((?: {10}.*\n)+)", rules)
}
alerts = set(re.findall(r"- alert: (\w+)", rules))
tests = open("prometheus/tests/alerts.yml").read()
cases = re.findall(r"- alertname: (\w+)\n +eval_time: \w+\n +exp_alerts:( \[\])?", tests)
fires = {name for name, silent in cases if not silent}
silent = {name for name, silent in cases if silent}
pages = {os.path.splitext(os.path.basename(page))[0] for page in glob.glob("../docs/runbooks/*.md")} - {"README"}
wrong = {
    "alerts without page": alerts - pages,
    "pages without alert": pages - alerts,
    "never tested to fire": alerts - fires,
    "never tested to be silent": alerts - silent,
    "whose page has another expression": {
        name for name in alerts & pages if expressions.get(name) not in open(f"../docs/runbooks/{name}.md").read()
    },
    "whose runbook is not under the configured address": {
        name for name in alerts if f"{{{{ $externalLabels.runbooks }}}}/{name}.md" not in rules
    },
}
if any(wrong.values()):
    sys.exit("\n".join(f"{what}: {', '.join(sorted(names))}" for what, names in wrong.items() if names))
for name in glob.glob("grafana/dashboards/*.json"):
    panels = json.load(open(name))["panels"]
    ids = [panel["id"] for panel in panels]
    if len(ids) != len(set(ids)):
        sys.exit(f"{name}: two panels of one id")
print("dashboards, saved objects, alerts and runbooks fit together")
END
