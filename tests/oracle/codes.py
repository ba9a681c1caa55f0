"""What libupsclient of the oracle calls each failure: one line each, `NUMBER<tab>HOW<tab>TEXT`.

    run with LD_LIBRARY_PATH as run.sh sets it:  codes.py LIBRARY REFUSAL...

A small server answers what is asked with `ERR REFUSAL`, with nonsense, or not at all; the library says with
upscli_upserror() and upscli_strerror() what it makes of that.
"""

import ctypes
import socket
import sys
import threading

LIBRARY, *REFUSALS = sys.argv[1:]
lib = ctypes.CDLL(LIBRARY)
lib.upscli_strerror.restype = ctypes.c_char_p
lib.upscli_init(0, None, None, None)


def serve(answer):
    """A server for one connection: answers each line so, or hangs up where there is no answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work():
        client, _ = listener.accept()
        listener.close()
        with client, client.makefile("rb") as lines:
            for _ in lines:
                if answer is None:
                    return
                client.sendall(answer + b"\n")

    threading.Thread(target=work, daemon=True).start()
    return listener.getsockname()[1]


def tell(how, ups):
    print(lib.upscli_upserror(ups), how, lib.upscli_strerror(ups).decode(), sep="\t")


def connection():
    # What it keeps of a connection is its own affair; this is more than enough for it.
    return ctypes.create_string_buffer(1 << 16)


def ask(how, answer):
    ups = connection()
    if lib.upscli_connect(ups, b"127.0.0.1", serve(answer), 0) < 0:
        return tell("connect: " + how, ups)
    words = (ctypes.c_char_p * 3)(b"VAR", b"u", b"ups.status")
    count, answers = ctypes.c_uint(), ctypes.POINTER(ctypes.c_char_p)()
    lib.upscli_get(ups, 3, words, ctypes.byref(count), ctypes.byref(answers))
    tell(how, ups)
    lib.upscli_disconnect(ups)


for refusal in REFUSALS:
    ask("ERR " + refusal, b"ERR " + refusal.encode())
ask("nonsense", b"BEGIN nonsense")
ask("hangs up", None)
ask("another", b"VAR other ups.status \"OL\"")

closed = socket.create_server(("127.0.0.1", 0))
port = closed.getsockname()[1]
closed.close()
ups = connection()
lib.upscli_connect(ups, b"127.0.0.1", port, 0)
tell("refused", ups)
# 2: TLS is demanded.
ups = connection()
lib.upscli_connect(ups, b"127.0.0.1", serve(b"ERR FEATURE-NOT-CONFIGURED"), 2)
tell("no tls", ups)
