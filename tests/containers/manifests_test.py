#!/usr/bin/python3
"""manifests_test.py ROOT: what docker/kubernetes becomes is what Kubernetes takes, and hangs together.

Every kustomization is built by kubectl and every object checked against the schema of its kind. The
schemas know shapes, not names; that a selector finds pods, a port its name, a volume its source and a
flag its meaning is checked here. ServiceMonitor is not Kubernetes' own: its few fields are checked here.
"""
import copy
import pathlib
import subprocess
import sys

import kubernetes_validate
import yaml

MONITOR_FIELDS = {"selector", "jobLabel", "endpoints", "namespaceSelector"}
ENDPOINT_FIELDS = {"port", "path", "interval", "scheme"}


def built(kubectl, folder):
    text = subprocess.run([kubectl, "kustomize", folder], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    return list(yaml.safe_load_all(text))


def of_kind(objects, kind):
    return [o for o in objects if o["kind"] == kind]


def name_of(o):
    return f"{o['kind']} {o['metadata']['name']}"


def selects(selector, labels):
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def schema_faults(objects):
    for o in objects:
        if o["kind"] == "ServiceMonitor":
            if set(o["spec"]) - MONITOR_FIELDS:
                yield f"{name_of(o)}: unknown {sorted(set(o['spec']) - MONITOR_FIELDS)}"
            for endpoint in o["spec"]["endpoints"]:
                if set(endpoint) - ENDPOINT_FIELDS:
                    yield f"{name_of(o)}: unknown {sorted(set(endpoint) - ENDPOINT_FIELDS)}"
            continue
        try:
            kubernetes_validate.validate(o, "1.32", strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{name_of(o)}: {error.message}"


def selector_faults(objects, pod_labels, container_ports):
    """Whoever selects pods finds them, and ports by names that exist."""
    for o in objects:
        spec = o.get("spec", {})
        if o["kind"] in ("Deployment", "PodDisruptionBudget"):
            selector = spec["selector"]["matchLabels"]
        elif o["kind"] == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
            for port in (p["port"] for rule in spec["ingress"] for p in rule["ports"]):
                if port not in container_ports:
                    yield f"{name_of(o)}: no container port {port}"
        elif o["kind"] == "Service":
            selector = spec["selector"]
            for port in spec["ports"]:
                if container_ports.get(port["targetPort"]) != port["port"]:
                    yield f"{name_of(o)}: port {port['name']} is not the container's"
        else:
            continue
        if not selects(selector, pod_labels):
            yield f"{name_of(o)}: selects no pod of the Deployment"


def reference_faults(objects, deployment):
    """What is called by name is there."""
    for o in of_kind(objects, "ServiceMonitor"):
        for endpoint in o["spec"]["endpoints"]:
            found = [s for s in of_kind(objects, "Service")
                     if selects(o["spec"]["selector"]["matchLabels"], s["metadata"].get("labels", {}))
                     and endpoint["port"] in [p["name"] for p in s["spec"]["ports"]]]
            if len(found) != 1:
                yield f"{name_of(o)}: {len(found)} Services with port {endpoint['port']}; wanted 1"
    for o in of_kind(objects, "HorizontalPodAutoscaler"):
        target = o["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) != ("Deployment", deployment["metadata"]["name"]):
            yield f"{name_of(o)}: scales {target['name']}, which is not here"
    pod = deployment["spec"]["template"]["spec"]
    maps = [o["metadata"]["name"] for o in of_kind(objects, "ConfigMap")]
    for container in pod["containers"]:
        for source in container["envFrom"]:
            if source["configMapRef"]["name"] not in maps:
                yield f"no ConfigMap {source['configMapRef']['name']}"
        volumes = [volume["name"] for volume in pod.get("volumes", [])]
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"no volume {mount['name']}"


def seconds(text):
    units = {"s": 1, "m": 60, "h": 3600}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)


def promise_faults(objects, deployment):
    """No call is cut off when a pod goes, and nothing runs with rights it does not need."""
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    environment = of_kind(objects, "ConfigMap")[0]["data"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    drain = seconds(environment["LOSSD_DRAIN_TIMEOUT"])
    if drain <= seconds(environment["LOSSD_MAX_CALL_DURATION"]):
        yield "LOSSD_DRAIN_TIMEOUT is not longer than the longest call"
    if pod["terminationGracePeriodSeconds"] <= pause + drain:
        yield "terminationGracePeriodSeconds is not longer than preStop and drain"
    context = container["securityContext"]
    if not (pod["securityContext"].get("runAsNonRoot") and context.get("readOnlyRootFilesystem")
            and context.get("allowPrivilegeEscalation") is False
            and context.get("capabilities", {}).get("drop") == ["ALL"]):
        yield "the container has rights that it does not need"
    if "args" not in container:
        yield "no args: the image's own allow calls in the clear"
    clear = environment.get("LOSSD_INSECURE_LISTEN") == "true"
    if clear == ("LOSSD_TLS_CERT" in environment):
        yield "wanted either TLS or LOSSD_INSECURE_LISTEN"
    if not clear and not {"LOSSD_TLS_CLIENT_CA", "LOSSD_AUTH_TOKEN_FILE"} & set(environment):
        yield "with TLS, callers need neither a certificate nor a token"
    mounted = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
    for key, value in environment.items():
        if value.startswith("/") and str(pathlib.PurePath(value).parent) not in mounted:
            yield f"{key}: {value} is in no volume"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        port = container[probe].get("grpc", {}).get("port", 50152)
        if port not in [p["containerPort"] for p in container["ports"] if p["name"] == "health"]:
            yield f"{probe}: port {port} is not the health port"
    used = container["resources"]
    if not {"cpu", "memory"} <= set(used["limits"]):
        yield "no limits: lossd would take the whole node"


def faults(objects):
    deployment, = of_kind(objects, "Deployment")
    template = deployment["spec"]["template"]
    ports = {p["name"]: p["containerPort"] for p in template["spec"]["containers"][0]["ports"]}
    yield from schema_faults(objects)
    yield from selector_faults(objects, template["metadata"]["labels"], ports)
    yield from reference_faults(objects, deployment)
    yield from promise_faults(objects, deployment)


def environment_faults(objects, flags):
    """`flags`: the text of `lossd --help`."""
    for key in of_kind(objects, "ConfigMap")[0]["data"]:
        flag = "--" + key.removeprefix("LOSSD_").lower().replace("_", "-")
        if f"{flag} " not in flags:
            yield f"ConfigMap: {key}, but lossd has no {flag}"


def self_test(objects):
    """One fault of each kind, made on purpose, is found."""
    def broken(kind, change, index=0):
        copied = copy.deepcopy(objects)
        change(of_kind(copied, kind)[index])
        return copied

    def container(deployment):
        return deployment["spec"]["template"]["spec"]["containers"][0]

    labels = {"app.kubernetes.io/name": "losd"}
    cases = {
        "wrong type": broken("Deployment", lambda o: o["spec"].update(replicas="two")),
        "unknown field": broken("Service", lambda o: o["spec"].update(clusterIp="None")),
        "service selector": broken("Service", lambda o: o["spec"].update(selector=labels), 1),
        "budget selector": broken("PodDisruptionBudget",
                                  lambda o: o["spec"]["selector"].update(matchLabels=labels)),
        "policy port": broken("NetworkPolicy",
                              lambda o: o["spec"]["ingress"][0]["ports"][0].update(port="rpc")),
        "target port": broken("Service", lambda o: o["spec"]["ports"][0].update(targetPort="rpc")),
        "monitored port": broken("ServiceMonitor",
                                 lambda o: o["spec"]["endpoints"][0].update(port="metric")),
        "monitor field": broken("ServiceMonitor", lambda o: o["spec"].update(endpoint=[])),
        "scaled name": broken("HorizontalPodAutoscaler",
                              lambda o: o["spec"]["scaleTargetRef"].update(name="losd")),
        "config name": broken("Deployment", lambda o: container(o)["envFrom"][0]["configMapRef"]
                              .update(name="losd")),
        "short grace": broken("Deployment", lambda o: o["spec"]["template"]["spec"]
                              .update(terminationGracePeriodSeconds=30)),
        "root": broken("Deployment", lambda o: o["spec"]["template"]["spec"]["securityContext"]
                       .pop("runAsNonRoot")),
        "probe port": broken("Deployment",
                             lambda o: container(o)["readinessProbe"]["grpc"].update(port=50151)),
        "a file of no volume": broken("ConfigMap",
                                      lambda o: o["data"].update(LOSSD_TLS_CERT="/tsl/tls.crt")),
        "image's arguments": broken("Deployment", lambda o: container(o).pop("args")),
    }
    if "LOSSD_TLS_CERT" in of_kind(objects, "ConfigMap")[0]["data"]:
        cases["everybody may call"] = broken("ConfigMap", lambda o: [
            o["data"].pop(key, None) for key in ("LOSSD_TLS_CLIENT_CA", "LOSSD_AUTH_TOKEN_FILE")])
    for name, case in cases.items():
        assert list(faults(case)), f"{name}: not found"
    assert list(environment_faults(broken("ConfigMap", lambda o: o["data"].update(LOSSD_LISTN="x")),
                                   "--listen ADDR")), "misspelt variable: not found"


def main(root):
    kubectl = pathlib.Path(sys.executable).parent / "kubectl"
    found = []
    folders = sorted(pathlib.Path(root, "docker/kubernetes").glob("*/kustomization.yaml"))
    flags = subprocess.run([f"{root}/build/release/bin/lossd", "--help"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout
    for kustomization in folders:
        objects = built(kubectl, kustomization.parent)
        self_test(objects)
        found += [f"{kustomization.parent.name}: {fault}"
                  for fault in [*faults(objects), *environment_faults(objects, flags)]]
        print(f"{kustomization.parent.name}: {', '.join(name_of(o) for o in objects)}")
    print("\n".join(found) or "nothing is wrong with them")
    return 1 if found or len(folders) < 3 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
