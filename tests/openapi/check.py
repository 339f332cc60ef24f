"""Is /openapi.json true? It must be valid, describe every event that a stream has, and leave schemathesis nothing to find.

    check.py chatkit-server [SECONDS]
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request

import jsonschema_rs
from openapi_spec_validator import validate

# A limit that a thousand requests of one user reach is nothing to find.
UNLIMITED = {f"RATE_LIMIT_{whose}_PER_MINUTE": "0" for whose in ("IP", "USER", "READS")}
UNLIMITED |= {"CHATKIT_UPLOAD_QUOTA_BYTES": "0", "CHATKIT_MAX_TURNS_PER_USER": "0"}
SAID = ["hello", "think", "search", "cite", "tool", "image", "fail", "refuse", "incomplete", "error 500"]


def ask(url, body=None, token=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return answer.read().decode()


def events(origin, token, body):
    stream = ask(f"{origin}/api/chatkit", body, token)
    return [json.loads(line.removeprefix("data: ")) for line in stream.splitlines() if line.startswith("data: ")]


def check_streams(origin, token, document):
    """Every event fits the type of events, and every item that is read again the type of items."""
    typed = lambda name: jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": document["components"]})
    event_type, thread_type = typed("ChatEvent"), typed("Thread")
    seen = set()
    for words in SAID:
        message = {"content": [{"type": "input_text", "text": words}], "attachments": [], "inference_options": {}}
        said = events(origin, token, {"type": "threads.create", "params": {"input": message}})
        for event in said:
            event_type.validate(event)
            seen.add(event["type"])
        thread = {"thread_id": said[0]["thread"]["id"]}
        thread_type.validate(json.loads(ask(f"{origin}/api/chatkit", {"type": "threads.get_by_id", "params": thread}, token)))
    assert {"thread.created", "thread.item.added", "thread.item.updated", "thread.item.done", "error"} <= seen, seen
    print(f"streams: {len(SAID)} answers with {len(seen)} kinds of events are as described")


def main(binary, seconds="60"):
    with tempfile.TemporaryDirectory() as folder:
        variables = {**os.environ, **UNLIMITED, "PORT": "0"}
        with open(f"{folder}/log", "w") as log:
            server = subprocess.Popen([binary, "dev", "--print-addr"], cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            origin = f"http://{server.stdout.readline().strip()}"
            document = json.loads(ask(f"{origin}/openapi.json"))
            validate(document)
            print("document: valid OpenAPI")
            token = json.loads(ask(f"{origin}/dev/token", {"user": "ada"}))["token"]
            check_streams(origin, token, document)
            with open(os.path.join(folder, "schemathesis.toml"), "w") as config:
                # What is too large is 413, and past a hundred unsent files each upload is 409, whatever it holds.
                config.write("[checks]\nnegative_data_rejection.expected-statuses = "
                             "[400, 401, 403, 404, 406, 409, 413, 415, 422]\n")
            schemathesis = os.path.join(os.path.dirname(sys.executable), "schemathesis")
            run = [schemathesis, "run", f"{origin}/openapi.json", "--max-time", seconds, "--seed", "1", "--continue-on-failure",
                   "--header", f"Authorization: Bearer {token}"]
            return subprocess.run(run, cwd=folder).returncode
        finally:
            server.terminate()
            server.wait(timeout=60)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
