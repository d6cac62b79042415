"""A real server in a process of its own: its end, too many clients, and clients that mean no good."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT

import api_test
from core.console import UserError
from core.serving import load, sockets
from core.serving.load import ask_all, measure_load, predict_bodies
from experiments.attack import workers_of
from experiments.crowds import restart_under_load
from experiments.servers import running_command

SERVER = """
import sys
from pathlib import Path

import api
import tasks
from core.console import run
from core.serving import server as http_server
from fake_classifier import FakeClassifier
from predict_fun import TASK

api.find_model = lambda model, models: Path(model or "fake.pt")
tasks.load = lambda path, **options: (TASK, FakeClassifier())
http_server.GRACE_SECONDS = 1.5
run(lambda: api.main(["--host", "127.0.0.1", "--port", "0", *sys.argv[1:]]))
"""


def has_ipv6():
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@contextlib.contextmanager
def running(*flags, starts="Running on http://127.0.0.1:", before="", **environment):
    """A server with these flags: its process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", before + SERVER, *flags],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    errors = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True)
    reader.start()
    process.errors = lambda: "".join(errors)
    watch = threading.Timer(60, process.kill)
    watch.start()
    try:
        line = process.stdout.readline()
        watch.cancel()  # a test may take long on a busy machine, and one server serves many
        assert line.startswith(starts), process.errors()
        yield process, line.split()[-1]
    finally:
        watch.cancel()
        process.kill()
        process.wait()
        reader.join(10)
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="module")
def server():
    with running("--max-body-mb", "0.1", "--batch-size", "2", "--queue", "4", "--timeout", "5") as found:
        yield found


def address(url):
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def post(url, text):
    connection = http.client.HTTPConnection(*address(url), timeout=20)
    connection.request("POST", "/predict", json.dumps({"text": text}), {"Content-Type": "application/json"})
    response = connection.getresponse()
    status, body = response.status, json.loads(response.read())
    connection.close()
    return status, body


def stop_while_asking(process, url, text):
    """SIGTERM while a request is being computed: its answer, and the seconds until the process ended."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(post(url, text)))
    thread.start()
    time.sleep(0.15)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    thread.join(20)
    assert process.wait(20) == 0
    assert "Traceback" not in process.errors()
    return answers[0], time.monotonic() - asked


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_what_was_accepted_is_answered_at_the_end():
    with running() as (process, url):
        (status, body), _ = stop_while_asking(process, url, "慢")
        assert status == 200 and body["pred_class"] == "财经"
        with pytest.raises(ConnectionRefusedError):
            post(url, "科技")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_a_model_that_hangs_does_not_hold_up_the_end():
    with running() as (process, url):
        (status, body), seconds = stop_while_asking(process, url, "挂")
        assert status == 503 and body["code"] == "stopping"
        assert 1.4 < seconds < 9


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_busy_clients_that_keep_their_connections_do_not_hold_up_the_end():
    with running() as (process, url):
        timer = threading.Timer(0.5, process.send_signal, [signal.SIGTERM])
        timer.start()
        report = measure_load(url, predict_bodies(["科技"]), clients=8, seconds=1.5)
        assert process.wait(10) == 0
        assert set(report["statuses"]) == {"200"} and report["statuses"]["200"] > 50
        assert set(report["errors"]) <= {"ConnectionRefusedError", "ConnectionResetError", "IncompleteReadError"}


def test_too_many_clients_are_told_and_the_rest_answered(server):
    report = measure_load(server[1], predict_bodies(["慢", "科技"]), clients=64, seconds=1.5)
    assert report["statuses"].keys() == {"200", "503"} and not report["errors"]
    assert report["clients"] == 64 and report["p50_ms"] <= report["p95_ms"] <= report["p99_ms"] <= report["max_ms"]
    started = time.monotonic()
    assert post(server[1], "科技")[0] == 200
    assert time.monotonic() - started < 4  # all that were asked would take ten


def test_a_crowd_is_answered_as_fast_as_a_few():
    """The server does not spend its time on looking after connections: without pauses the crowd gets a tenth.

    A busy machine may hold up one measurement; it is made again, up to three times.
    """
    bodies = predict_bodies(["科技"])
    with running() as (_, url):
        for _ in range(3):
            few, crowd = (measure_load(url, bodies, clients, seconds=1.5) for clients in (8, 256))
            assert not crowd["errors"]
            if crowd["requests_per_s"] > few["requests_per_s"] / 3:
                return
    pytest.fail(f"{few}, {crowd}")


def test_concurrent_clients_get_their_own_answers():
    texts = [f"{label}{number}" for number in range(60) for label in ("财经", "科技", "体育")]
    with running() as (_, url):
        for text, (status, body) in zip(texts, ask_all(url, predict_bodies(texts), clients=16), strict=True):
            assert status == 200
            assert (json.loads(body)["text"], json.loads(body)["pred_class"]) == (text, text[:2])


def test_a_list_and_single_titles_together(server):
    """A list of many batches does not stand in the way of one title; a busy machine is asked up to three times."""
    for _ in range(3):
        answers = []
        thread = threading.Thread(
            target=lambda answers=answers: answers.append((post(server[1], ["慢"] * 6), time.monotonic()))
        )
        thread.start()
        time.sleep(0.2)
        assert post(server[1], "科技")[0] == 200
        answered = time.monotonic()
        thread.join(20)
        [((_, body), ended)] = answers
        assert len(body["predictions"]) == 6
        if ended - answered > 0.3:  # a batch of the list at least was still to come, of 0.6 s
            return
    pytest.fail(f"the list came {ended - answered} s after the title")


GARBAGE = [
    b"\r\n\r\n",
    b"\x00" * 2000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"get /health HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET //[::1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%00%ff%c0%80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a b\xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\n folded\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nContent-Length: 2, 3\r\n\r\n{}",
    b"POST /predict HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"POST /predict HTTP/1.1\r\nContent-Type: application/json; charset=\xff\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /predict HTTP/1.1\r\nAuthorization: \xff\x80\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /predict HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 999999999\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


def read_all(connection):
    """What the server sends until it closes the connection, which it may do by a reset."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(65_536):
            answer += data
    return answer


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused_in_json(server, data):
    with socket.create_connection(address(server[1]), timeout=10) as connection:
        with contextlib.suppress(OSError):  # it may have been refused before its end
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    if answer:
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        if status == 100:  # and no body came
            assert not body
            return
        assert status < 500 or status == 501
        assert b"httptools" not in answer.lower() and b"Traceback" not in answer
        if status >= 400:
            assert json.loads(body)["status"] == status and json.loads(body)["code"]
    assert post(server[1], "科技")[0] == 200


def test_half_requests_and_slow_senders_stand_in_nobodys_way(server):
    halves = [b"", b"P", b"POST /predict HTTP/1.1\r\nContent-", b"POST /predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(address(server[1]), timeout=10)) for _ in range(80)]
        for number, connection in enumerate(crowd):
            connection.sendall(halves[number % 4])
        started = time.monotonic()
        assert post(server[1], "科技")[0] == 200
        assert time.monotonic() - started < 10  # a slow sender has thirty
        slow = crowd[0]  # byte by byte, and answered all the same
        body = b'{"text": "slow"}'
        request = b"POST /predict HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
        for byte in request + b"Content-Length: %d\r\n\r\n" % len(body) + body:
            slow.sendall(bytes([byte]))
            time.sleep(0.001)
        assert read_all(slow).startswith(b"HTTP/1.1 200")
    assert "Traceback" not in server[0].errors()


def test_a_client_that_leaves_is_no_error(server):
    for _ in range(3):
        with socket.create_connection(address(server[1]), timeout=10) as connection:
            body = json.dumps({"text": "慢"}).encode()
            head = b"POST /predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body)
            time.sleep(0.05)
    time.sleep(1)
    assert post(server[1], "科技")[0] == 200
    assert "Traceback" not in server[0].errors()


def test_a_body_of_any_size_is_refused_in_json(server):
    for size in (200_000, 5_000_000):
        with socket.create_connection(address(server[1]), timeout=10) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % size
            )
            connection.sendall(b"Connection: close\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(size // 10_000 if size < 800_000 else 0):
                    connection.sendall(b" " * 10_000)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 413")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "body_too_large"


def open_many(url, first, count=60):
    crowd = []
    for _ in range(count):
        client = socket.create_connection(address(url), timeout=10)
        client.sendall(first)
        crowd.append(client)
    return crowd


HEAD = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


def test_the_key_and_the_length_are_looked_at_before_a_body():
    with running(NEWS_API_KEY="key") as (_, url):
        for more, status in (
            (b"Content-Length: 15900000\r\n\r\n", b"401"),
            (b"Transfer-Encoding: chunked\r\n\r\n9\r\n", b"401"),
            (b"Authorization: Bearer key\r\nContent-Length: 15900000\r\n\r\n", b"413"),
        ):
            with socket.create_connection(address(url), timeout=10) as client:
                client.sendall(HEAD + more)
                assert client.recv(65_536).split()[1] == status  # with nothing of the body sent


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", b"400"),
        (b"Host: b\r\nContent-Length: 2\r\n\r\n{}", b"400"),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", b"400"),
        (b"Transfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"X: " + b"a" * 40_000 + b"\r\n\r\n", b"431"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_and_closed(server, head, status):
    with socket.create_connection(address(server[1]), timeout=10) as client:
        client.sendall(HEAD + head + b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = read_all(client)
    assert answer.split()[1] == status and answer.count(b"HTTP/1.1") == 1 and b"Connection: close" in answer


def test_the_oldest_of_those_that_do_nothing_goes_first():
    with running(before="from core.serving import server\nserver.connection_limit = lambda shared: 20\n") as (_, url):
        crowd = open_many(url, b"")
        assert post(url, "科技")[0] == 200
        time.sleep(0.3)
        for client in crowd:
            client.setblocking(False)
        assert [is_closed(client) for client in crowd] == [True] * 41 + [False] * 19
        for client in crowd:
            client.close()


def is_closed(client):
    try:
        return client.recv(1000) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_bodies_and_answers_have_a_total_size_and_a_total_time():
    bounds = "from core.serving import server\nserver.SECONDS.update(sending=1.0, reading=1.0, lingering=0.2)\n"
    bounds += "server.HELD_BYTES = 300_000\nserver.SOCKET_BYTES = 4096\n"
    with running(before=bounds) as (_, url):
        crowd = open_many(url, HEAD + b"Content-Length: 99000\r\n\r\n" + b" " * 30_000, 20)
        assert post(url, "科技")[0] == 200  # although more is held than may be: the oldest goes
        assert crowd[0].recv(1000).split()[1] == b"503" and b"busy" in crowd[0].recv(1000) + b"busy"
        started = time.monotonic()
        assert crowd[-1].recv(65_536).split()[1] == b"408"
        assert time.monotonic() - started < 8
        asked = json.dumps({"text": [""] * 900}).encode()
        for seconds in (2.5, 15):  # the second where a busy machine has not answered so soon
            silent = open_many(url, (HEAD + b"Content-Length: %d\r\n\r\n" % len(asked) + asked) * 12, 5)
            time.sleep(seconds)
            assert post(url, "科技")[0] == 200
            closed = [was_closed_early(client, 12 * 60_000) for client in silent]
            for client in silent:
                client.close()
            if all(closed):
                break
        assert all(closed)
        for client in crowd:
            client.close()


def was_closed_early(client, size):
    """Whether the server closed a connection before so many bytes of its answers were taken."""
    with contextlib.suppress(TimeoutError):
        return len(read_all(client)) < size
    return False


def test_no_temporary_folder_is_needed():
    with running(before="import tempfile; tempfile.tempdir = 'no such folder'\n", TMPDIR="nowhere") as (_, url):
        assert post(url, "科" * 5_000)[0] == 200
        status, answer = post(url, ["x"] * 1_000)
        assert status == 200 and len(answer["predictions"]) == 1_000


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
@pytest.mark.parametrize(("keep", "number"), [(True, signal.SIGTERM), (False, signal.SIGINT)])
def test_what_was_sent_before_the_end_is_answered(keep, number):
    """A small restart of experiments/attack.py; HUP ends in order too."""
    with running("--quiet") as (process, url):
        process.send_signal = lambda _, send=process.send_signal: send(number)
        found = asyncio.run(restart_under_load(url, process, 96, keep, 0.5))
        assert process.wait(20) == 0 and not found["lost"] and sum(found["answers"].values()) > 96, found


def test_workers_share_the_port_the_counters_and_the_end(light, tmp_path):
    """One that is killed is replaced; what the counters say is the sum; a signal ends all of them."""
    command = [sys.executable, str(ROOT / "api.py"), "--model", str(light), "--host", "127.0.0.1", "--port", "0"]
    command += ["--workers", "2", "--feedback", str(tmp_path / "f.csv")]
    with running_command(command) as (url, process):
        workers = workers_of(process.pid)
        asked = [post(url, "球队夺冠") for _ in range(30)]
        assert {status for status, _ in asked} == {200}
        told = json.dumps({"request_id": asked[0][1]["request_id"], "label": "体育"}).encode()
        for _ in range(6):  # whichever worker is asked knows the request
            connection = http.client.HTTPConnection(*address(url), timeout=20)
            connection.request("POST", "/feedback", told, {"Content-Type": "application/json"})
            assert connection.getresponse().status == 200
            connection.close()
        workers[0].kill()
        deadline = time.monotonic() + 40
        while len(workers_of(process.pid)) < 2 or workers[0] in workers_of(process.pid):
            assert post(url, "基金")[0] in (200,) and time.monotonic() < deadline
            time.sleep(0.2)
        connection = http.client.HTTPConnection(*address(url), timeout=20)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        [counted] = [line for line in lines if line.startswith('news_requests_total{route="/predict",status="200"}')]
        assert float(counted.split()[-1]) >= 30 and any(line.startswith("process_resident") for line in lines)
        workers = workers_of(process.pid)
        process.terminate()
        assert process.wait(30) == 0 or os.name == "nt"
        assert not any(worker.is_running() for worker in workers)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6():
    with running("--host", "::1", starts="Running on http://[::1]:") as (_, url):
        assert api_test.predict("科技", url)["pred_class"] == "科技"
        assert ask_all(url, predict_bodies(["体育"]), clients=1)[0][0] == 200


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
@pytest.mark.parametrize(
    ("limits", "connections", "raised"),
    [((256, 9000), 8192, (8256, 9000)), ((256, 1100), 1036, (1100, 1100)), ((256, -1), 8192, (8256, -1))]
    + [((9999, 9999), 8192, None), ((-1, -1), 8192, None)],
)
def test_connections_fit_the_open_files(limits, connections, raised, monkeypatch):
    import resource

    calls = []
    monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, found: calls.append(found))
    assert sockets.connection_limit() == connections
    assert calls == ([raised] if raised else [])
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 100))
    with pytest.raises(UserError, match="too few to serve.*ulimit"):
        sockets.connection_limit()


def test_the_client_measures(capsys, monkeypatch):
    monkeypatch.setenv("NEWS_API_KEY", "密key")
    with running("--model", "one=x", "--model", "other=y", NEWS_API_KEY="密key") as (_, url):
        flags = ["--url", url, "--model", "other"]
        load.main([*flags[1:], "--clients", "3", "--seconds", "0.5"])
        clients, rate, *_, name, count = capsys.readouterr().out.splitlines()[-1].split()  # no other status, no error
        assert (clients, name) == ("3", "200:") and float(rate) > 0 and int(count) > 0
        paced = measure_load(url, predict_bodies(["科技"], "one"), clients=4, seconds=1, rate=40, key="密key")
        assert 15 <= paced["statuses"]["200"] <= 44  # hundreds without the rate; a busy machine may not keep up with it
        api_test.main(flags)
        assert '"model": "other"' in capsys.readouterr().out
        with pytest.raises(SystemExit, match="404.*one、other"):
            api_test.main(["--url", url, "--model", "third"])
        monkeypatch.setenv("NEWS_API_KEY", "wrong")
        with pytest.raises(SystemExit, match="401.*密钥"):
            api_test.main(flags)
        report = measure_load(url, predict_bodies(["科技"]), clients=1, seconds=0.2)
        assert report["statuses"].keys() == {"401"} and report["p50_ms"] is None


def test_a_load_that_was_not_answered_ends_in_an_error(server, monkeypatch):
    monkeypatch.setattr(load, "predict_bodies", lambda texts, model: [b"{}"])
    with pytest.raises(UserError, match="not every request"):
        load.main([server[1], "--clients", "2", "--seconds", "0.2"])
    with pytest.raises(UserError, match="cannot be put under load"):
        measure_load("https://127.0.0.1", [b"{}"], 1, 0.1)
