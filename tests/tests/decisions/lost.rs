//! C: communication that is lost.

use super::*;

/// A secondary whose waits are over soon.
const SHORT_SEC: Monitor =
    Monitor { conf: "MONITOR u1@ 1 sec ss secondary\nDEADTIME 3\nHOSTSYNC 3\n", ..SEC };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "C1",
        title: "a server that is gone on mains is told again and again, and stops nobody; it comes back as COMMOK alone",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nNOCOMMWARNTIME 1\nDEADTIME 1\n", ..PRI }],
        steps: &[
            Send("upsd", Signal::SIGKILL),
            Logs("pri", "COMMBAD u1"),
            Logs("pri", "NOCOMM u1"),
            Logs("pri", "NOCOMM u1"),
            Start("upsd"),
            Logs("pri", "COMMOK u1"),
            Polls("pri", "u1", 2),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["COMMBAD u1", "NOCOMM u1 *", "COMMOK u1"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C2",
        title: "a loss on mains far longer than DEADTIME stops nobody",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 sec ss secondary\nDEADTIME 1\nHOSTSYNC 1\n", ..SEC }],
        steps: &[
            Send("upsd", Signal::SIGKILL),
            Logs("sec", "COMMBAD u1"),
            Rests(4),
            Start("upsd"),
            Logs("sec", "COMMOK u1"),
        ],
        trails: &[Trail {
            who: "sec",
            log: &["COMMBAD u1", "?NOCOMM u1", "COMMOK u1"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C3",
        title: "a server that dies on battery: everybody stops by himself after DEADTIME",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nDEADTIME 3\n", ..PRI }, SHORT_SEC],
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Logs("sec", "ONBATT u1"),
            Send("upsd", Signal::SIGKILL),
            Ends("pri"),
            Ends("sec"),
        ],
        trails: &[
            Trail {
                who: "pri",
                log: &["ONBATT u1", "COMMBAD u1", "?NOCOMM u1", "no FSD for u1", "SHUT", "SHUTDOWN"],
                forced: &[],
                end: End::Down,
            },
            Trail {
                who: "sec",
                log: &["ONBATT u1", "COMMBAD u1", "?NOCOMM u1", "gave up u1", "SHUT", "SHUTDOWN"],
                forced: &[],
                end: End::Down,
            },
        ],
        ..ROW
    },
    Scenario {
        id: "C5 back on mains",
        title: "what changed during a loss is told after it: mains are back",
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Send("upsd", Signal::SIGKILL),
            Logs("pri", "COMMBAD u1"),
            Set("u1", "OL"),
            Start("upsd"),
            Logs("pri", "ONLINE u1"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "COMMBAD u1", "?NOCOMM u1", "COMMOK u1", "ONLINE u1"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C5 now on battery",
        title: "what changed during a loss is told after it: mains have failed",
        steps: &[
            Send("upsd", Signal::SIGKILL),
            Logs("pri", "COMMBAD u1"),
            Set("u1", "OB"),
            Start("upsd"),
            Logs("pri", "ONBATT u1"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["COMMBAD u1", "?NOCOMM u1", "COMMOK u1", "ONBATT u1"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C5 still on battery",
        title: "what has not changed during a loss is not told again",
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Send("upsd", Signal::SIGKILL),
            Logs("pri", "COMMBAD u1"),
            Start("upsd"),
            Logs("pri", "COMMOK u1"),
            Polls("pri", "u1", 2),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "COMMBAD u1", "?NOCOMM u1", "COMMOK u1"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C6",
        title: "a driver that dies on battery: its server takes the FSD of the primary, which stops after DEADTIME",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nDEADTIME 3\n", ..PRI }],
        steps: &[Set("u1", "OB"), Logs("pri", "ONBATT u1"), Send("u1", Signal::SIGKILL), Ends("pri")],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "COMMBAD u1", "?NOCOMM u1", "+FSD u1", "SHUT", "SHUTDOWN"],
            forced: &["u1"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "C7",
        title: "data that are stale on mains: lost and found, and no more",
        upsd: "MAXAGE 3\n",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nDEADTIME 1\n", ..PRI }],
        steps: &[
            Send("u1", Signal::SIGSTOP),
            Logs("pri", "COMMBAD u1"),
            Polls("pri", "u1", 3),
            Send("u1", Signal::SIGCONT),
            Logs("pri", "COMMOK u1"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["COMMBAD u1", "?NOCOMM u1", "COMMOK u1"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C8",
        title: "a server that is restarted on mains has everybody logged in again: the secondary stops first",
        monitors: &[PRI, SEC],
        steps: &[
            Send("upsd", Signal::SIGKILL),
            Logs("pri", "COMMBAD u1"),
            Logs("sec", "COMMBAD u1"),
            Start("upsd"),
            Logs("pri", "COMMOK u1"),
            Logs("sec", "COMMOK u1"),
            Polls("sec", "u1", 2),
            Polls("pri", "u1", 2),
            Order("pri", "fsd"),
            Ends("sec"),
            Ends("pri"),
        ],
        trails: &[
            Trail {
                who: "pri",
                log: &[
                    "COMMBAD u1",
                    "?NOCOMM u1",
                    "COMMOK u1",
                    "+FSD u1",
                    "?+SHUTDOWN_HOSTSYNC",
                    "SHUT",
                    "SHUTDOWN",
                ],
                forced: &["u1"],
                end: End::Down,
            },
            Trail {
                who: "sec",
                log: &["COMMBAD u1", "?NOCOMM u1", "COMMOK u1", "FSD u1", "SHUT", "SHUTDOWN"],
                forced: &[],
                end: End::Down,
            },
        ],
        order: &[(("sec", "gone"), ("pri", "SHUT"))],
        ..ROW
    },
    Scenario {
        id: "C11",
        title: "a UPS that the server does not know is told as lost; it stops nobody, and the other one goes on",
        monitors: &[Monitor {
            conf: "MONITOR u1@ 1 pri pp primary\nMONITOR nosuch@ 1 pri pp primary\nDEADTIME 1\n",
            ..PRI
        }],
        steps: &[
            Logs("pri", "COMMBAD nosuch"),
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Polls("pri", "u1", 2),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["?no login to nosuch", "COMMBAD nosuch", "?NOCOMM nosuch", "ONBATT u1", "?NOCOMM nosuch"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C12",
        title: "a server that hangs on battery: as if it were dead",
        monitors: &[SHORT_SEC],
        steps: &[Set("u1", "OB"), Logs("sec", "ONBATT u1"), Send("upsd", Signal::SIGSTOP), Ends("sec")],
        trails: &[Trail {
            who: "sec",
            log: &["ONBATT u1", "COMMBAD u1", "?NOCOMM u1", "gave up u1", "SHUT", "SHUTDOWN"],
            forced: &[],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "C15",
        title: "two feeds, one of them dead: the other carries the host until it is low",
        upses: &[("a", "OL"), ("b", "OL")],
        monitors: &[Monitor {
            conf: "MONITOR a@ 1 pri pp primary\nMONITOR b@ 1 pri pp primary\nDEADTIME 2\n",
            ..PRI
        }],
        steps: &[
            Set("a", "OB"),
            Logs("pri", "ONBATT a"),
            Send("a", Signal::SIGKILL),
            Logs("pri", "COMMBAD a"),
            // It is dead by then.
            Polls("pri", "b", 5),
            Set("b", "OB"),
            Logs("pri", "ONBATT b"),
            Polls("pri", "b", 2),
            Set("b", "OB LB"),
            Ends("pri"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &[
                "ONBATT a",
                "COMMBAD a",
                "?NOCOMM a",
                "ONBATT b",
                "LOWBATT b",
                "+{FSD a, FSD b}",
                "SHUT",
                "SHUTDOWN",
            ],
            forced: &["a", "b"],
            end: End::Down,
        }],
        ..ROW
    },
];
