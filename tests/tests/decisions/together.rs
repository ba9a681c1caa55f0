//! B: a primary and its secondaries.

use super::*;

/// A primary that has nothing to wait for.
const ALONE: &[&str] = &["ONBATT u1", "LOWBATT u1", "+FSD u1", "SHUT", "SHUTDOWN"];

/// A primary that has.
const WAITED: &[&str] = &["ONBATT u1", "LOWBATT u1", "+FSD u1", "+SHUTDOWN_HOSTSYNC", "SHUT", "SHUTDOWN"];

/// A primary that waited in vain.
const IN_VAIN: &[&str] =
    &["ONBATT u1", "LOWBATT u1", "+FSD u1", "+SHUTDOWN_HOSTSYNC", "HOSTSYNC is over", "SHUT", "SHUTDOWN"];

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "B1",
        title: "the secondary stops first, then the primary, and no later",
        monitors: &[PRI, SEC],
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Logs("sec", "ONBATT u1"),
            Set("u1", "OB LB"),
            Ends("sec"),
            Ends("pri"),
            Says("u1", "FSD OB LB"),
        ],
        trails: &[
            Trail {
                who: "pri",
                log: &["ONBATT u1", "LOWBATT u1", "+FSD u1", "?+SHUTDOWN_HOSTSYNC", "SHUT", "SHUTDOWN"],
                forced: &["u1"],
                end: End::Down,
            },
            // It may poll before the primary does.
            Trail {
                who: "sec",
                log: &["ONBATT u1", "{LOWBATT u1, FSD u1}", "SHUT", "SHUTDOWN"],
                forced: &[],
                end: End::Down,
            },
        ],
        order: &[(("sec", "SHUT"), ("pri", "SHUT"))],
        ..ROW
    },
    Scenario {
        id: "B3",
        title: "a secondary that is stuck holds the primary for HOSTSYNC",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nHOSTSYNC 2\n", ..PRI }],
        steps: &[Login("u1"), Set("u1", "OB LB"), Ends("pri"), Says("u1", "FSD OB LB")],
        trails: &[Trail { who: "pri", log: IN_VAIN, forced: &["u1"], end: End::Down }],
        ..ROW
    },
    Scenario {
        id: "B4",
        title: "a secondary that crashes within HOSTSYNC is waited for no longer",
        steps: &[Login("u1"), Set("u1", "OB LB"), Waits("pri"), Leaves, Ends("pri")],
        trails: &[Trail { who: "pri", log: WAITED, forced: &["u1"], end: End::Down }],
        ..ROW
    },
    Scenario {
        id: "B5",
        title: "a server that dies within HOSTSYNC leaves nobody to wait for",
        steps: &[Login("u1"), Set("u1", "OB LB"), Waits("pri"), Send("upsd", Signal::SIGKILL), Ends("pri")],
        trails: &[Trail { who: "pri", log: WAITED, forced: &["u1"], end: End::Down }],
        ..ROW
    },
    Scenario {
        id: "B6",
        title: "power that returns within HOSTSYNC calls nothing off, and a newcomer stops, too",
        monitors: &[PRI, Monitor { start: Start::Later, ..SEC }],
        steps: &[
            Login("u1"),
            Set("u1", "OB LB"),
            Waits("pri"),
            Set("u1", "OL"),
            Says("u1", "FSD OL"),
            Rests(2),
            Leaves,
            Ends("pri"),
            Start("sec"),
            Ends("sec"),
        ],
        trails: &[
            Trail { who: "pri", log: WAITED, forced: &["u1"], end: End::Down },
            Trail { who: "sec", log: &["FSD u1", "SHUT", "SHUTDOWN"], forced: &[], end: End::Down },
        ],
        ..ROW
    },
    Scenario {
        id: "B7",
        title: "a forced shutdown stays in the server: a primary that starts again stops again, until upsd is restarted",
        monitors: &[
            PRI,
            Monitor { name: "again", conf: PRI.conf, start: Start::Later },
            Monitor { name: "third", conf: PRI.conf, start: Start::Later },
        ],
        steps: &[
            Order("pri", "fsd"),
            Ends("pri"),
            Start("again"),
            Ends("again"),
            Send("upsd", Signal::SIGKILL),
            Start("upsd"),
            Start("third"),
            Polls("third", "u1", 2),
        ],
        trails: &[
            Trail { who: "pri", log: &["+FSD u1", "SHUT", "SHUTDOWN"], forced: &["u1"], end: End::Down },
            Trail { who: "again", log: &["FSD u1", "SHUT", "SHUTDOWN"], forced: &["u1"], end: End::Down },
            Trail { who: "third", log: &[], forced: &[], end: End::Up },
        ],
        ..ROW
    },
    Scenario {
        id: "B8",
        title: "an order on the primary takes its secondaries along, and all its UPSes",
        upses: &[("u1", "OL"), ("u2", "OL")],
        monitors: &[
            Monitor { conf: "MONITOR u1@ 1 pri pp primary\nMONITOR u2@ 0 pri pp primary\n", ..PRI },
            SEC,
        ],
        steps: &[Order("pri", "fsd"), Ends("sec"), Ends("pri"), Says("u1", "FSD OL"), Says("u2", "FSD OL")],
        trails: &[
            Trail {
                who: "pri",
                log: &["+{FSD u1, FSD u2}", "?+SHUTDOWN_HOSTSYNC", "SHUT", "SHUTDOWN"],
                forced: &["u1", "u2"],
                end: End::Down,
            },
            Trail { who: "sec", log: &["FSD u1", "SHUT", "SHUTDOWN"], forced: &[], end: End::Down },
        ],
        order: &[(("sec", "SHUT"), ("pri", "SHUT"))],
        ..ROW
    },
    Scenario {
        id: "B9",
        title: "an order on a secondary stops that host alone",
        monitors: &[PRI, SEC],
        steps: &[Order("sec", "fsd"), Ends("sec"), Says("u1", "OL"), Polls("pri", "u1", 2)],
        trails: &[
            Trail { who: "pri", log: &[], forced: &[], end: End::Up },
            Trail { who: "sec", log: &["SHUT", "SHUTDOWN"], forced: &[], end: End::Down },
        ],
        ..ROW
    },
    Scenario {
        id: "B10",
        title: "an administrator forces the shutdown: the secondary stops first, then the primary",
        monitors: &[PRI, SEC],
        steps: &[Forces("u1"), Ends("sec"), Ends("pri")],
        trails: &[
            Trail {
                who: "pri",
                log: &["FSD u1", "?+SHUTDOWN_HOSTSYNC", "SHUT", "SHUTDOWN"],
                forced: &["u1"],
                end: End::Down,
            },
            Trail { who: "sec", log: &["FSD u1", "SHUT", "SHUTDOWN"], forced: &[], end: End::Down },
        ],
        order: &[(("sec", "SHUT"), ("pri", "SHUT"))],
        ..ROW
    },
    Scenario {
        id: "B11",
        title: "a driver that says FSD itself stops everybody, on mains, too",
        monitors: &[PRI, SEC],
        steps: &[Set("u1", "FSD OL"), Ends("sec"), Ends("pri")],
        trails: &[
            Trail {
                who: "pri",
                log: &["FSD u1", "?+SHUTDOWN_HOSTSYNC", "SHUT", "SHUTDOWN"],
                forced: &["u1"],
                end: End::Down,
            },
            Trail { who: "sec", log: &["FSD u1", "SHUT", "SHUTDOWN"], forced: &[], end: End::Down },
        ],
        ..ROW
    },
    Scenario {
        id: "B12",
        title: "a secondary whose primary was killed on battery stops by itself",
        monitors: &[PRI, Monitor { conf: "MONITOR u1@ 1 sec ss secondary\nHOSTSYNC 2\n", ..SEC }],
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Logs("sec", "ONBATT u1"),
            Send("pri", Signal::SIGKILL),
            Set("u1", "OB LB"),
            Ends("sec"),
            Says("u1", "OB LB"),
        ],
        trails: &[
            Trail { who: "pri", log: &["ONBATT u1"], forced: &[], end: End::Killed },
            Trail {
                who: "sec",
                log: &["ONBATT u1", "LOWBATT u1", "gave up u1", "SHUT", "SHUTDOWN"],
                forced: &[],
                end: End::Down,
            },
        ],
        ..ROW
    },
    Scenario {
        id: "B13",
        title: "a host that only watches is logged in, stays, and so holds the primary for HOSTSYNC",
        monitors: &[
            Monitor { conf: "MONITOR u1@ 1 pri pp primary\nHOSTSYNC 2\n", ..PRI },
            Monitor { conf: "MONITOR u1@ 0 sec ss secondary\nMINSUPPLIES 0\n", ..SEC },
        ],
        steps: &[
            Set("u1", "OB"),
            Logs("sec", "ONBATT u1"),
            Logs("pri", "ONBATT u1"),
            Set("u1", "OB LB"),
            Ends("pri"),
            Polls("sec", "u1", 2),
        ],
        trails: &[
            Trail { who: "pri", log: IN_VAIN, forced: &["u1"], end: End::Down },
            Trail { who: "sec", log: &["ONBATT u1", "{LOWBATT u1, FSD u1}"], forced: &[], end: End::Up },
        ],
        ..ROW
    },
    Scenario {
        id: "B15",
        title: "of two primaries the less patient one goes first, and sets the other free",
        monitors: &[
            Monitor { conf: "MONITOR u1@ 1 pri pp primary\nHOSTSYNC 2\n", ..PRI },
            Monitor { name: "other", ..PRI },
        ],
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Logs("other", "ONBATT u1"),
            Set("u1", "OB LB"),
            Ends("pri"),
            Ends("other"),
        ],
        // Who polls first forces it; the other may see that before it sees LB.
        trails: &[
            Trail {
                who: "pri",
                log: &[
                    "ONBATT u1",
                    "?FSD u1",
                    "LOWBATT u1",
                    "?+FSD u1",
                    "+SHUTDOWN_HOSTSYNC",
                    "HOSTSYNC is over",
                    "SHUT",
                    "SHUTDOWN",
                ],
                forced: &["u1"],
                end: End::Down,
            },
            Trail {
                who: "other",
                log: &[
                    "ONBATT u1",
                    "?FSD u1",
                    "LOWBATT u1",
                    "?+FSD u1",
                    "+SHUTDOWN_HOSTSYNC",
                    "SHUT",
                    "SHUTDOWN",
                ],
                forced: &["u1"],
                end: End::Down,
            },
        ],
        order: &[(("pri", "SHUT"), ("other", "SHUT"))],
        ..ROW
    },
    Scenario {
        id: "B16",
        title: "a host with two feeds, primary of the one and secondary of the other, stops when both are lost",
        upses: &[("a", "OL"), ("b", "OL")],
        monitors: &[
            Monitor {
                name: "mix",
                conf: "MONITOR a@ 1 pri pp primary\nMONITOR b@ 1 sec ss secondary\n",
                start: Start::WithServer,
            },
            Monitor { name: "prib", conf: "MONITOR b@ 1 pri pp primary\nHOSTSYNC 2\n", start: Start::Later },
        ],
        steps: &[
            Start("prib"),
            Set("b", "OB"),
            Logs("mix", "ONBATT b"),
            Logs("prib", "ONBATT b"),
            Set("b", "OB LB"),
            Ends("prib"),
            Set("a", "OB LB"),
            Ends("mix"),
            Says("a", "FSD OB LB"),
        ],
        trails: &[
            Trail {
                who: "mix",
                log: &[
                    "ONBATT b",
                    "{LOWBATT b, FSD b}",
                    "ONBATT a",
                    "LOWBATT a",
                    "+FSD a",
                    "SHUT",
                    "SHUTDOWN",
                ],
                forced: &["a"],
                end: End::Down,
            },
            Trail {
                who: "prib",
                log: &[
                    "ONBATT b",
                    "LOWBATT b",
                    "+FSD b",
                    "+SHUTDOWN_HOSTSYNC",
                    "HOSTSYNC is over",
                    "SHUT",
                    "SHUTDOWN",
                ],
                forced: &["b"],
                end: End::Down,
            },
        ],
        ..ROW
    },
    Scenario {
        id: "B0",
        title: "who is alone on its UPS waits for nobody",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nHOSTSYNC 600\n", ..PRI }],
        steps: &[Set("u1", "OB LB"), Ends("pri")],
        trails: &[Trail { who: "pri", log: ALONE, forced: &["u1"], end: End::Down }],
        ..ROW
    },
];
