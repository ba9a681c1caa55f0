//! A: one host.

use super::*;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "A1",
        title: "mains fail and return: two notices",
        steps: &[Set("u1", "OB"), Logs("pri", "ONBATT u1"), Set("u1", "OL"), Logs("pri", "ONLINE u1")],
        trails: &[Trail { who: "pri", log: &["ONBATT u1", "ONLINE u1"], forced: &[], end: End::Up }],
        ..ROW
    },
    Scenario {
        id: "A2",
        title: "started during an outage: told at the first poll",
        upses: &[("u1", "OB")],
        steps: &[Logs("pri", "ONBATT u1"), Set("u1", "OL"), Logs("pri", "ONLINE u1")],
        trails: &[Trail { who: "pri", log: &["ONBATT u1", "ONLINE u1"], forced: &[], end: End::Up }],
        ..ROW
    },
    Scenario {
        id: "A3",
        title: "a blip between two polls is not seen",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nPOLLFREQ 1\nPOLLFREQALERT 600\n", ..PRI }],
        // On battery it polls every ten minutes, and so it does not see what comes in between.
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Set("u1", "OB LB"),
            Says("u1", "OB LB"),
            Set("u1", "OB"),
            Says("u1", "OB"),
        ],
        trails: &[Trail { who: "pri", log: &["ONBATT u1"], forced: &[], end: End::Up }],
        ..ROW
    },
    Scenario {
        id: "A4",
        title: "low battery on mains is told each time, and stops nobody",
        steps: &[
            Set("u1", "OL LB"),
            Logs("pri", "LOWBATT u1"),
            Set("u1", "OL"),
            Says("u1", "OL"),
            Polls("pri", "u1", 2),
            Set("u1", "OL LB"),
            Logs("pri", "LOWBATT u1"),
            Polls("pri", "u1", 2),
        ],
        trails: &[Trail { who: "pri", log: &["LOWBATT u1", "LOWBATT u1"], forced: &[], end: End::Up }],
        ..ROW
    },
    Scenario {
        id: "A5",
        title: "a lone primary whose battery is low stops at the same poll",
        steps: &[Set("u1", "OB LB"), Ends("pri"), Says("u1", "FSD OB LB")],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "LOWBATT u1", "+FSD u1", "SHUT", "SHUTDOWN"],
            forced: &["u1"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "A6",
        title: "a lone secondary waits HOSTSYNC for its primary, then stops by itself",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 sec ss secondary\nHOSTSYNC 2\n", ..SEC }],
        steps: &[Set("u1", "OB LB"), Ends("sec"), Says("u1", "OB LB")],
        trails: &[Trail {
            who: "sec",
            log: &["ONBATT u1", "LOWBATT u1", "gave up u1", "SHUT", "SHUTDOWN"],
            forced: &[],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "A8",
        title: "power that returns within a secondary's wait calls it off; the next wait begins anew",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 sec ss secondary\nHOSTSYNC 10\n", ..SEC }],
        steps: &[
            Set("u1", "OB LB"),
            Logs("sec", "LOWBATT u1"),
            Set("u1", "OL"),
            Logs("sec", "ONLINE u1"),
            Set("u1", "OB LB"),
            Logs("sec", "LOWBATT u1"),
            Set("u1", "OB"),
            Says("u1", "OB"),
            // Longer than either wait would have been.
            Polls("sec", "u1", 13),
        ],
        trails: &[Trail {
            who: "sec",
            log: &["ONBATT u1", "LOWBATT u1", "ONLINE u1", "ONBATT u1", "LOWBATT u1"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "A9 no supply needed",
        title: "with MINSUPPLIES 0 nothing stops the host but an order",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 sec ss secondary\nHOSTSYNC 1\nMINSUPPLIES 0\n", ..SEC }],
        steps: &[
            Set("u1", "OB LB"),
            Logs("sec", "gave up u1"),
            Polls("sec", "u1", 2),
            Order("sec", "fsd"),
            Ends("sec"),
        ],
        trails: &[Trail {
            who: "sec",
            log: &["ONBATT u1", "LOWBATT u1", "gave up u1 *", "SHUT", "SHUTDOWN"],
            forced: &[],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "A9 watching only",
        title: "a UPS that feeds nothing here stops nobody",
        monitors: &[Monitor { conf: "MONITOR u1@ 0 sec ss secondary\nHOSTSYNC 1\nMINSUPPLIES 0\n", ..SEC }],
        steps: &[Set("u1", "OB LB"), Logs("sec", "gave up u1"), Polls("sec", "u1", 3)],
        trails: &[Trail {
            who: "sec",
            log: &["ONBATT u1", "LOWBATT u1", "gave up u1 *"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "A10",
        title: "a SHUTDOWNCMD that fails",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nSHUTDOWNCMD BIN/failing-pri\n", ..PRI }],
        steps: &[Set("u1", "OB LB"), Logs("pri", "cannot run its command"), Rests(1)],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "LOWBATT u1", "FSD u1", "SHUT", "SHUTDOWN", "cannot run its command"],
            forced: &["u1"],
            end: End::Stays,
        }],
        nut: Nut::Differs {
            trails: &[Trail {
                who: "pri",
                log: &["ONBATT u1", "LOWBATT u1", "SHUT", "SHUTDOWN", "cannot run its command"],
                forced: &["u1"],
                end: End::Down,
            }],
            right: Right::Ours,
            why: "NUT's ends with success, and the host is up and unwatched; a host that did not stop needs its \
                  monitor most",
        },
        ..ROW
    },
    Scenario {
        id: "A11",
        title: "a notifier that hangs holds up nothing",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nNOTIFYCMD BIN/hanging-pri\n", ..PRI }],
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Set("u1", "OL"),
            Logs("pri", "ONLINE u1"),
            Set("u1", "OB LB"),
            Ends("pri"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "ONLINE u1", "ONBATT u1", "LOWBATT u1", "+FSD u1", "SHUT", "SHUTDOWN"],
            forced: &["u1"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "A12 in FINALDELAY",
        title: "SIGTERM within FINALDELAY does not shorten it",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nFINALDELAY 600\n", ..PRI }],
        // A signal between its last word and its sleep does not wake NUT's up.
        steps: &[
            Set("u1", "OB LB"),
            Logs("pri", "SHUTDOWN"),
            Rests(1),
            Send("pri", Signal::SIGTERM),
            Rests(2),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "LOWBATT u1", "FSD u1", "SHUT", "SHUTDOWN"],
            forced: &["u1"],
            end: End::Up,
        }],
        nut: Nut::Differs {
            trails: &[Trail {
                who: "pri",
                log: &["ONBATT u1", "LOWBATT u1", "SHUT", "SHUTDOWN"],
                forced: &["u1"],
                end: End::Down,
            }],
            right: Right::Ours,
            why: "2.8.0 runs the command at once; people rely on the delay, and NUT keeps it too from 2.8.5 on",
        },
        ..ROW
    },
    Scenario {
        id: "A12 in HOSTSYNC",
        title: "no signal stops a primary that waits for its secondaries",
        steps: &[
            Login("u1"),
            Set("u1", "OB LB"),
            Waits("pri"),
            Send("pri", Signal::SIGHUP),
            Send("pri", Signal::SIGTERM),
            Rests(1),
            Leaves,
            Ends("pri"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "LOWBATT u1", "+FSD u1", "+SHUTDOWN_HOSTSYNC", "+reload", "SHUT", "SHUTDOWN"],
            forced: &["u1"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "A12 asleep",
        title: "an order is obeyed at once, whenever the next poll is due",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nPOLLFREQALERT 600\n", ..PRI }],
        steps: &[Set("u1", "OB"), Logs("pri", "ONBATT u1"), Order("pri", "fsd"), Ends("pri")],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "+FSD u1", "SHUT", "SHUTDOWN"],
            forced: &["u1"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "D7",
        title: "too little power configured: it refuses to start",
        monitors: &[Monitor {
            conf: "MONITOR u1@ 1 pri pp primary\nMINSUPPLIES 2\n",
            start: Start::Refused,
            ..PRI
        }],
        steps: &[Ends("pri")],
        trails: &[Trail { who: "pri", log: &["too little power"], forced: &[], end: End::Exit(1) }],
        ..ROW
    },
    Scenario {
        id: "A9 nothing but watching",
        title: "a host that needs a supply and names none refuses to start",
        monitors: &[Monitor { conf: "MONITOR u1@ 0 sec ss secondary\n", start: Start::Refused, ..SEC }],
        steps: &[Ends("sec")],
        trails: &[Trail { who: "sec", log: &["too little power"], forced: &[], end: End::Exit(1) }],
        ..ROW
    },
];
