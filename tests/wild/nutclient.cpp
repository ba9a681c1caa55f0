// libnutclient of Debian's libnutclient-dev. Argument: port.
#include <nutclient.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <set>
#include <string>
#include <thread>

using std::string;

template <typename Seen, typename Expected> static void same(const char *what, const Seen &seen, const Expected &expected) {
    if (!(seen == expected)) {
        std::cerr << what << " is not as expected\n";
        std::exit(1);
    }
}

template <typename Deed> static void refused(const char *what, const char *why, Deed deed) {
    try {
        deed();
    } catch (const nut::NutException &error) {
        same(what, error.str().find(why) != string::npos, true);
        return;
    }
    std::cerr << what << " went well, and should not\n";
    std::exit(1);
}

static void succeeds(nut::TcpClient &client, const nut::TrackingID &id) {
    same("an id", id.size(), 36u);
    for (int tries = 0; tries < 3000; ++tries) {
        const auto result = client.getTrackingResult(id);
        if (result != nut::PENDING) {
            same("the end of an order", result, nut::SUCCESS);
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::cerr << "an order does not end\n";
    std::exit(1);
}

int main(int, char **arguments) {
    const auto port = static_cast<uint16_t>(std::atoi(arguments[1]));
    nut::TcpClient client("127.0.0.1", port);
    same("the names", client.getDeviceNames(), std::set<string>{"absent", "battery", "fine", "stale"});
    same("the description", client.getDeviceDescription("fine"), "The fine one");
    auto both = client.getDevicesVariableValues({"fine", "battery"});
    same("two UPSes at once", both.size(), 2u);
    same("one status", both["fine"]["ups.status"].at(0), "OL CHRG");
    same("the other status", both["battery"]["ups.status"].at(0), "OB LB");
    same("all variables", both["fine"].size(), 17u);
    same("one variable", client.getDeviceVariableValue("fine", "ups.model").at(0), "Smart-UPS 1000");
    same("what can be written", client.getDeviceRWVariableNames("fine"),
         std::set<string>{"battery.charge.low", "input.sensitivity", "ups.delay.start", "ups.id"});
    same("the commands", client.getDeviceCommandNames("fine").size(), 5u);
    same("a command's description", client.getDeviceCommandDescription("fine", "load.off").empty(), false);
    same("nobody is here", client.deviceGetNumLogins("fine"), 0);
    refused("an old status", "DATA-STALE", [&] { client.getDeviceVariableValue("stale", "ups.status"); });
    refused("no driver", "DRIVER-NOT-CONNECTED", [&] { client.getDeviceVariableNames("absent"); });
    refused("an order of nobody", "USERNAME-REQUIRED", [&] { client.executeDeviceCommand("fine", "load.off"); });

    client.authenticate("admin", "adminpass");
    client.deviceLogin("fine");
    same("one is here", client.deviceGetNumLogins("fine"), 1);
    client.executeDeviceCommand("fine", "beeper.toggle");
    same("tracking is off", client.isFeatureEnabled(nut::Client::TRACKING), false);
    client.setFeature(nut::Client::TRACKING, true);
    same("tracking is on", client.isFeatureEnabled(nut::Client::TRACKING), true);
    succeeds(client, client.setDeviceVariable("fine", "ups.id", "c++ one"));
    succeeds(client, client.executeDeviceCommand("fine", "load.off", "30"));
    refused("what is only read", "READONLY", [&] { client.setDeviceVariable("fine", "ups.load", "1"); });
    client.deviceMaster("fine");
    client.devicePrimary("fine");
    client.logout();

    nut::TcpClient wrong("127.0.0.1", port);
    wrong.authenticate("admin", "wrong");
    same("reading needs no password", wrong.getDeviceVariableValue("fine", "ups.load").at(0), "23.4");
    refused("a wrong password", "ACCESS-DENIED", [&] { wrong.executeDeviceCommand("fine", "load.off"); });
    std::cout << "libnutclient: fine\n";
}
