"""PyNUT of PyPI over TLS, as secondary and as who asks. Arguments: root folder, port, the authority's certificate."""
import sys

root, port, authority = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.path[:0] = [root + "/python"]
from PyNUTClient import PyNUT  # noqa: E402

client = PyNUT.PyNUTClient(
    "127.0.0.1", port, "admin", "adminpass", timeout=20, force_ssl=True, cert_verify=True, ca_file=authority
)
assert client.GetUPSVars("fine")[b"ups.status"] == b"OL CHRG"
assert client.DeviceLogin("fine") == "OK"
assert client.SetRWVar("fine", "ups.id", "sealed") == "OK"
try:
    PyNUT.PyNUTClient("127.0.0.1", port, timeout=20, force_ssl=True, cert_verify=True)
    raise SystemExit("a stranger's certificate is believed")
except Exception as error:  # Its own kind, or that of Python's ssl.
    assert "CERTIFICATE_VERIFY_FAILED" in str(error) or "certificate" in str(error).lower(), error
print("PyNUT over TLS: fine")
