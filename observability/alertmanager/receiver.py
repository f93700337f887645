"""Where alerts arrive when nothing else is configured: prints each, shows the newest as a page with a link to its runbook, serves the
runbooks, and passes on what came to ALERT_FORWARD_URL.

Must not know: any alert. It keeps no state beyond the newest hundred.
"""

import collections
import html
import http.server
import json
import os
import pathlib
import re
import urllib.request

ADDRESS = (os.environ.get("LISTEN_HOST", "0.0.0.0"), int(os.environ.get("LISTEN_PORT", "8060")))
FORWARD = os.environ.get("ALERT_FORWARD_URL", "")
RUNBOOKS = pathlib.Path(os.environ.get("RUNBOOKS_DIR", "/app/runbooks"))
# Alertmanager sends a group at a time; more than this is no group.
BODY_BYTES_MAX = 1 << 20
NEWEST = collections.deque(maxlen=100)


class Receiver(http.server.BaseHTTPRequestHandler):
    timeout = 10

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind + "; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        length = int(self.headers.get("content-length", "0"))
        if self.path != "/alerts" or not 0 < length <= BODY_BYTES_MAX:
            return self.answer(400, "text/plain", b"alerts are posted to /alerts\n")
        body = self.rfile.read(length)
        try:
            alerts = json.loads(body)["alerts"]
            for alert in alerts:
                labels, notes = alert.get("labels", {}), alert.get("annotations", {})
                entry = {
                    "status": str(alert.get("status", "")),
                    "since": str(alert.get("startsAt", "")),
                    "name": str(labels.get("alertname", "")),
                    "severity": str(labels.get("severity", "")),
                    "summary": str(notes.get("summary", "")),
                    "description": str(notes.get("description", "")),
                    "runbook": str(notes.get("runbook_url", "")),
                }
                NEWEST.appendleft(entry)
                print(json.dumps(entry), flush=True)
        except (ValueError, KeyError, TypeError, AttributeError):
            return self.answer(400, "text/plain", b"this is no notification of Alertmanager\n")
        if FORWARD:
            request = urllib.request.Request(FORWARD, data=body, headers={"content-type": "application/json"})
            try:
                urllib.request.urlopen(request, timeout=5).close()
            except OSError as error:
                # Alertmanager tries again.
                print(json.dumps({"forwarding failed": str(error)}), flush=True)
                return self.answer(502, "text/plain", b"could not be passed on\n")
        return self.answer(200, "text/plain", b"")

    def do_GET(self):
        page = re.fullmatch(r"/runbooks/([A-Za-z]+\.md)", self.path)
        if page and (RUNBOOKS / page[1]).is_file():
            return self.answer(200, "text/plain", (RUNBOOKS / page[1]).read_bytes())
        if self.path != "/":
            return self.answer(404, "text/plain", b"there is no such page\n")
        rows = "".join(
            "<tr><td>{status}<td>{severity}<td><b>{name}</b><td>{summary}<br><small>{description}</small>"
            '<td><a href="{runbook}">what to do</a><td>{since}'.format(**{key: html.escape(text) for key, text in entry.items()})
            for entry in list(NEWEST)
        )
        head = "<!doctype html><title>Alerts</title><meta http-equiv=refresh content=10><h1>Alerts</h1>"
        body = f"{head}<table border=1 cellpadding=6>{rows}</table>" if rows else f"{head}<p>None yet."
        return self.answer(200, "text/html", body.encode())

    def log_message(self, *_):
        """Only alerts are worth a line."""


http.server.ThreadingHTTPServer(ADDRESS, Receiver).serve_forever()
