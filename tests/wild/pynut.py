"""PyNUT: the old one of Debian's python3-nut, then the new one of PyPI. Arguments: root folder, port."""
import importlib
import sys

root, port = sys.argv[1], int(sys.argv[2])
sys.path[:0] = [root + "/debian/usr/lib/python3/dist-packages", root + "/python"]


def text(value):
    return value.decode("ascii") if isinstance(value, bytes) else value


def texts(values):
    return {text(name): text(value) for name, value in values.items()}


def check(nut, new):
    client = nut.PyNUTClient("127.0.0.1", port, "admin", "adminpass", timeout=20)
    assert texts(client.GetUPSList()) == {
        "fine": "The fine one",
        "battery": "Description unavailable",
        "stale": "Description unavailable",
        "absent": "Description unavailable",
    }, client.GetUPSList()
    variables = texts(client.GetUPSVars("fine"))
    assert variables["ups.status"] == "OL CHRG" and variables["ups.load"] == "23.4", variables
    assert text(client.GetUPSVars("fine" if new else b"fine".decode())[b"battery.charge"]) == "98.0"
    assert sorted(texts(client.GetUPSCommands("fine"))) == [
        "beeper.toggle", "load.off", "load.on", "shutdown.return", "test.battery.start",
    ]
    assert sorted(texts(client.GetRWVars("fine"))) == ["battery.charge.low", "input.sensitivity", "ups.delay.start", "ups.id"]
    for name, value in (("ups.id", "pynut"), ("input.sensitivity", "low"), ("ups.delay.start", "30")):
        assert client.SetRWVar("fine", name, value) == "OK"
    assert client.RunUPSCommand("fine", "beeper.toggle") == "OK"
    for what in (
        lambda: client.GetUPSVars("stale"),
        lambda: client.GetUPSVars("absent"),
        lambda: client.SetRWVar("fine", "ups.status", "OB"),
        lambda: client.RunUPSCommand("fine", "no.such"),
    ):
        try:
            what()
            raise SystemExit("that went well, and should not")
        except nut.PyNUTError:
            pass
    assert text(client.ver()).startswith("Network UPS Tools upsd ")
    assert "LOGOUT" in text(client.help())
    if new:
        assert client.DeviceLogin("fine") == "OK"
        assert "fine" in texts_of_clients(client.ListClients("fine"))
        assert client.CheckUPSAvailable("fine")
    guest = nut.PyNUTClient("127.0.0.1", port, "admin", "wrong", timeout=20)
    assert texts(guest.GetUPSVars("fine"))["ups.status"] == "OL CHRG"
    try:
        guest.RunUPSCommand("fine", "load.off")
        raise SystemExit("a wrong password may command")
    except nut.PyNUTError as error:
        assert "ACCESS-DENIED" in str(error), error


def texts_of_clients(clients):
    return {text(name): value for name, value in clients.items()}


check(importlib.import_module("PyNUT"), False)
print("PyNUT of Debian: fine")
check(importlib.import_module("PyNUTClient.PyNUT"), True)
print("PyNUT of PyPI: fine")
