#!/usr/bin/python3
"""prometheus_test.py ROOT BIN: a real Prometheus with the settings of docker/prometheus scrapes lossd.

What it gets passes promtool; every rule can be evaluated; every metric that an alert or the dashboard
names is exported with the labels that are asked of it.
"""
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

import beside

METRIC = re.compile(r"\b((?:lossd|process)_[a-z_]+)(?:\{([^}]*)\})?")
OF_PROMETHEUS = {"job", "instance", "le"}


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def exported(exposition):
    """Metric -> the names of its labels."""
    metrics = {}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? ", exposition, re.MULTILINE):
        metrics.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return metrics


def asked(root):
    """Every expression of the alerts and the dashboard."""
    rules = pathlib.Path(root, "docker/prometheus/alerts.yml").read_text()
    for block in re.findall(r"expr: (>-\n(?: {10}.*\n)+|.*\n)", rules):
        yield block
    dashboard = json.loads(pathlib.Path(root, "docker/grafana/lossd.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def unknown(expressions, metrics):
    for expression in expressions:
        for name, labels in METRIC.findall(expression):
            if name not in metrics:
                yield f"{name}, of {expression.strip()}"
                continue
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels):
                if label not in metrics[name] | OF_PROMETHEUS:
                    yield f"label {label} of {name}"


def plain(expression):
    """As Prometheus takes it: what YAML and Grafana put in its place."""
    for variable, value in ((">-\n", ""), ("\n", " "), ("$instance", ".*"), ("$__rate_interval", "1m")):
        expression = expression.replace(variable, value)
    return expression


def settings(root, work, address):
    """The folder's files, with one replica at `address`."""
    shutil.copy(pathlib.Path(root, "docker/prometheus/alerts.yml"), work)
    config = pathlib.Path(work, "prometheus.yml")
    config.write_text(beside.replaced(pathlib.Path(root, "docker/prometheus/prometheus.yml"), (
        (r"    dns_sd_configs:\n(?: {6}.*\n)+",
         f"    static_configs:\n      - targets: ['{address}']\n"),
        (r"scrape_interval: 5s", "scrape_interval: 1s"))))
    return config


def main(root, bin_dir):
    with tempfile.TemporaryDirectory() as work, contextlib.ExitStack() as running:
        lossd = running.enter_context(beside.Replica(bin_dir, work, "127.0.0.1",
                                                     flags=["--metrics-listen=127.0.0.1:0"]))
        address = lossd.program.wait_for_text(r"metrics on (\S+)\n").group(1)
        load = running.enter_context(beside.Load(bin_dir, work, lossd.address, "--calls=30"))
        load.process.wait(timeout=60)
        load.finish()
        exposition = fetch(f"http://{address}/metrics")
        lint = subprocess.run(["promtool", "check", "metrics"], input=exposition, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert lint.returncode == 0 and not lint.stdout, lint.stdout
        expressions = list(asked(root))
        assert list(unknown(['lossd_request_total > 0', 'lossd_connections{jobs="x"}'],
                            exported(exposition))), "the comparison finds nothing"
        wrong = list(unknown(expressions, exported(exposition)))
        assert not wrong, "not exported: " + "; ".join(wrong)

        config = settings(root, work, address)
        prometheus = running.enter_context(beside.Program(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={work}/data",
             "--web.listen-address=127.0.0.1:0"], f"{work}/prometheus.log"))
        api = "http://" + prometheus.wait_for_text(r"Listening on.*address=(127\S+)").group(1)
        prometheus.wait_for_text(r"Server is ready to receive web requests")

        def ask(query):
            path = "/api/v1/query?" + urllib.parse.urlencode({"query": query})
            return json.loads(fetch(api + path))["data"]["result"]

        counted = beside.wait_for("scrape", lambda: ask('sum(lossd_requests_total{code="OK"})'))
        assert float(counted[0]["value"][1]) >= 30, counted
        assert ask('up{job="lossd"}')[0]["value"][1] == "1"

        def evaluated():
            groups = json.loads(fetch(f"{api}/api/v1/rules"))["data"]["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert rules and not [rule for rule in rules if rule["health"] == "err"], rules
            return all(rule["health"] == "ok" for rule in rules)

        beside.wait_for("evaluation of every rule", evaluated)
        for expression in expressions:
            if "label_values" not in expression:  # which is Grafana's own
                ask(plain(expression))
        print(f"scraped; {len(expressions)} expressions name what is exported")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
