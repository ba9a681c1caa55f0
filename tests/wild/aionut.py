"""aionut, which Home Assistant uses. Arguments: root folder, port."""
import asyncio
import sys

root, port = sys.argv[1], int(sys.argv[2])
# This file's own folder would be found first, and this file is called as the package.
sys.path[:] = [root + "/python"] + sys.path[1:]
from aionut import AIONUTClient, NUTCommandError, NUTLoginError  # noqa: E402


async def main():
    client = AIONUTClient("127.0.0.1", port, "admin", "adminpass", timeout=20)
    assert sorted(await client.list_ups()) == ["absent", "battery", "fine", "stale"]
    variables = await client.list_vars("fine")
    assert variables["ups.status"] == "OL CHRG" and variables["battery.charge"] == "98.0", variables
    assert "load.off" in await client.list_commands("fine")
    assert await client.description("fine") == "The fine one"
    await client.run_command("fine", "test.battery.start")
    await client.run_command("fine", "load.off", "30")
    try:
        await client.list_vars("stale")
        raise SystemExit("stale data are given out")
    except NUTCommandError as error:
        assert "DATA-STALE" in str(error), error
    # The connection is still good.
    assert (await client.list_vars("battery"))["ups.status"] == "OB LB"
    client.shutdown()

    wrong = AIONUTClient("127.0.0.1", port, "admin", "wrong", timeout=20)
    assert "fine" in await wrong.list_ups()
    try:
        await wrong.run_command("fine", "load.off")
        raise SystemExit("a wrong password may command")
    except NUTLoginError:
        pass
    wrong.shutdown()
    print("aionut: fine")


asyncio.run(main())
