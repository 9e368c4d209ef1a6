"""The systems that are compared: the bare upstream, the two nginx peers, the floor, and Claviger with everything on."""
import http.client
import json
import pathlib
import re
import shutil
import string
import struct
import subprocess

from processes import BenchError, Process, cpu_seconds, free_port, process_tree, rss_mb

BENCH = pathlib.Path(__file__).resolve().parent
SECRET = "upstream-secret-0123456789"
AGENT_TOKEN = "agent-token-abcdef"
TOOLS = ("echo", "stream", "ticks", "leak")
INSTALL = "Install the tools first: apt-get install nginx-light libnginx-mod-http-lua wrk"


def call_body(tool):
    arguments = '{"text":"%s"}' % ("x" * 200)
    return '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"%s","arguments":%s}}' % (tool, arguments)


def http_call(port, method, path, headers=None, body=None, seconds=30):
    """Status and body of one request on its own connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class System:
    """Something that answers tool calls at a port: `name`, `port`, `path` and the `token` its callers send."""

    path = "/mcp"
    token = AGENT_TOKEN
    process = None
    decides = False  # looks at token and tool, and refuses
    keeps_log = False  # has log_entries(), which grow by two per call

    def call(self, tool, token=None):
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
                   "MCP-Protocol-Version": "2025-11-25", "Authorization": "Bearer " + (token or self.token)}
        return http_call(self.port, "POST", self.path, headers, call_body(tool))

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid) if self.process else 0.0

    def rss_mb(self):
        return rss_mb(self.process.pid) if self.process else 0.0

    def stop(self):
        if self.process:
            self.process.stop()


class Upstream(System):
    """The MCP server itself; called directly it is the limit of the harness."""

    name = "direct"
    token = SECRET

    def __init__(self, program, folder):
        self.server = Process([str(program)], folder / "upstream.log", input_line=SECRET)
        self.port = self.server.ready_line()["port"]

    def stats(self):
        return json.loads(http_call(self.port, "GET", "/stats")[1])

    def server_cpu_seconds(self):
        return cpu_seconds(self.server.pid)

    def stop(self):
        self.server.stop()


class Nginx(System):
    name, template = "nginx", "nginx.conf.in"

    def __init__(self, upstream, folder):
        folder = folder / self.name.replace("+", "_")
        folder.mkdir()
        program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if not program:
            raise BenchError("nginx was not found. " + INSTALL)
        about = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=10).stderr
        modules = re.search(r"--modules-path=(\S+)", about)
        self.version = re.search(r"nginx/(\S+)", about).group(1)
        self.port = free_port()
        settings = {"folder": folder, "port": self.port, "upstream_port": upstream.port, "secret": SECRET,
                    "token": AGENT_TOKEN, "modules": modules.group(1) if modules else "/usr/lib/nginx/modules"}
        config = folder / "nginx.conf"
        config.write_text(string.Template((BENCH / self.template).read_text()).substitute(settings))
        self.process = Process([program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)],
                               folder / "start.log")
        try:
            self.process.wait_for_port(self.port)
        except BenchError as fault:
            self.process.stop()
            raise BenchError(f"{fault} {INSTALL}") from None


class NginxLua(Nginx):
    name, template, decides = "nginx+lua", "nginx_lua.conf.in", True


class Floor(System):
    """Waits for the disk before it forwards, and does nothing else: what durable intents alone cost."""

    name, keeps_log = "floor", True
    RECORD_BYTES = 300  # each begins with its number

    def __init__(self, program, upstream, folder):
        self.log = folder / "floor.records"
        self.process = Process([str(program), str(upstream.port), str(self.log)], folder / "floor.log",
                               input_line=SECRET)
        self.port = self.process.ready_line()["port"]

    def log_entries(self):
        """The newest record's number. The log goes round: numbers rise up to it, and behind it are older ones."""
        with open(self.log, "rb") as log:
            def number(slot):
                log.seek(slot * self.RECORD_BYTES)
                return struct.unpack("<Q", log.read(8))[0]
            first, low, high = number(0), 0, self.log.stat().st_size // self.RECORD_BYTES
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if number(middle) > first else (low, middle)
            return number(low)


class Claviger(System):
    """One thread, everything on: token, tool policy, durable intent and outcome, open, inject, redact."""

    name, decides, keeps_log = "claviger", True, True

    def __init__(self, program, upstream, folder):
        self.folder = folder / "claviger"
        self.folder.mkdir()
        key_file, config_file = self.folder / "seal.key", self.folder / "claviger.jsonc"
        data = self.folder / "data"
        made = subprocess.run([str(program), "init", "--data", str(data), "--key-file", str(key_file), "--json"],
                              capture_output=True, text=True, timeout=60)
        if made.returncode != 0:
            raise BenchError(f"claviger init failed: {made.stderr.strip() or made.stdout.strip()}")
        self.api_key = json.loads(made.stdout)["admin_api_key"]
        listen = {"address": "127.0.0.1", "port": 0}
        config_file.write_text(json.dumps({
            "data_dir": str(data), "seal": {"key_file": str(key_file)}, "threads": 1,
            "agents": listen, "admin": listen, "upstream": {"allow_private": True}, "log": {"level": "warning"}}))
        self.process = Process([str(program), "serve", "--config", str(config_file)], self.folder / "serve.log")
        try:
            ready = self.process.ready_line()
            self.port, self.admin_port = ready["agents_port"], ready["admin_port"]
            self._give_access(f"http://127.0.0.1:{upstream.port}/mcp")
        except BaseException:
            self.process.stop()
            raise

    def _give_access(self, url):
        """A vault with the upstream's secret, an environment bound to it, an agent with four tools, a session."""
        vault = self._create("vaults", {"display_name": "bench"})["id"]
        self._create(f"vaults/{vault}/credentials", {
            "display_name": "bench", "auth": {"type": "static_bearer", "mcp_server_url": url, "token": SECRET}})
        environment = self._create("environments", {"name": "bench", "vault_bindings": [vault]})["id"]
        allow = {"type": "always_allow"}
        agent = self._create("agents", {
            "name": "bench", "model": "none", "mcp_servers": [{"type": "url", "name": "bench", "url": url}],
            "tools": [{"type": "mcp_toolset", "mcp_server_name": "bench", "default_config": {"enabled": False},
                       "configs": [{"name": tool, "enabled": True, "permission_policy": allow}
                                   for tool in TOOLS]}]})["id"]
        session = self._create("sessions", {"agent": agent, "environment_id": environment, "vault_ids": [vault]})
        self.token, self.path = session["session_token"], "/mcp/bench"

    def _headers(self):
        return {"x-api-key": self.api_key, "anthropic-beta": "managed-agents-2026-04-01",
                "Content-Type": "application/json"}

    def _create(self, what, body):
        status, answer = http_call(self.admin_port, "POST", "/v1/" + what, self._headers(), json.dumps(body))
        if status not in (200, 201):
            raise BenchError(f"POST /v1/{what} was answered {status}: {answer.decode(errors='replace')[:600]}")
        return json.loads(answer)

    def log_entries(self):
        """How many entries the access log holds, by the server's own metric."""
        status, text = http_call(self.admin_port, "GET", "/metrics", self._headers())
        found = re.findall(r"^claviger_access_log_entries_total(?:\{[^}]*\})? (\S+)", text.decode(), re.MULTILINE)
        if status != 200 or not found:
            raise BenchError(f"GET /metrics ({status}) does not show claviger_access_log_entries_total")
        return int(sum(float(value) for value in found))

    def stop(self):
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def check_behaviour(system, upstream):
    """Each system must do the work it is measured for; returns what it got wrong."""
    faults = []
    status, body = system.call("echo")
    if status != 200 or len(body) != 1024 or json.loads(body).get("id") != 7 or "result" not in json.loads(body):
        faults.append(f"{system.name}: a permitted call was answered {status} with {len(body)} bytes: {body[:200]!r}")
    status, body = system.call("stream")
    events = body.count(b"data: ")
    if status != 200 or events != 20:
        faults.append(f"{system.name}: a stream of 20 events came back as {status} with {events} events")
    if system.decides:
        arrived = upstream.stats()["requests"]
        status, body = system.call("echo", token="nobody")
        if status != 401:
            faults.append(f"{system.name}: an unknown token was answered {status} instead of 401")
        status, body = system.call("drop_everything")
        if status == 200 and b'"error"' not in body and b'"isError":true' not in body:
            faults.append(f"{system.name}: a forbidden tool was answered {status}")
        if upstream.stats()["requests"] != arrived:
            faults.append(f"{system.name}: a refused call reached the upstream")
    if system.name == "claviger":
        status, body = system.call("leak")
        if SECRET.encode() in body:
            faults.append("claviger: the secret came back in an answer")
        elif status != 200 or b"*" * len(SECRET) not in body:
            faults.append(f"claviger: a secret said aloud was answered {status} without its mask: {body[:200]!r}")
    return faults
