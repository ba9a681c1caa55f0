//! C: servers and drivers that are lost.

use super::*;

const HASTY: Monitor =
    Monitor { conf: "MONITOR u1@ 1 pri pp primary\nDEADTIME 4\nNOCOMMWARNTIME 2\n", ..PRI };
const HASTY_SEC: Monitor =
    Monitor { conf: "MONITOR u1@ 1 sec ss secondary\nDEADTIME 4\nHOSTSYNC 4\n", ..SEC };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "C1",
        title: "a server lost on mains is told again and again and stops nobody; its return is told, too",
        monitors: &[HASTY],
        steps: &[
            Send("upsd", Signal::SIGKILL),
            Logs("pri", "COMMBAD u1"),
            Logs("pri", "NOCOMM u1"),
            Logs("pri", "NOCOMM u1"),
            Start("upsd"),
            Logs("pri", "COMMOK u1"),
            // It is logged in again.
            Set("u1", "OB LB"),
            Ends("pri"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &[
                "COMMBAD u1",
                "NOCOMM u1 *",
                "COMMOK u1",
                "ONBATT u1",
                "LOWBATT u1",
                "+FSD u1",
                "SHUT",
                "SHUTDOWN",
            ],
            forced: &["u1"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "C2",
        title: "a long loss on mains stops nobody, however short DEADTIME is",
        monitors: &[HASTY_SEC],
        steps: &[Send("upsd", Signal::SIGKILL), Logs("sec", "COMMBAD u1"), Rests(7)],
        trails: &[Trail { who: "sec", log: &["COMMBAD u1"], forced: &[], end: End::Up }],
        ..ROW
    },
    Scenario {
        id: "C3",
        title: "a server lost on battery: primary and secondary stop after DEADTIME, nobody waits for anybody",
        monitors: &[HASTY, HASTY_SEC],
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
                log: &["ONBATT u1", "COMMBAD u1", "?NOCOMM u1 *", "no FSD for u1", "SHUT", "SHUTDOWN"],
                forced: &[],
                end: End::Down,
            },
            Trail {
                who: "sec",
                log: &["ONBATT u1", "COMMBAD u1", "gave up u1", "SHUT", "SHUTDOWN"],
                forced: &[],
                end: End::Down,
            },
        ],
        ..ROW
    },
    Scenario {
        id: "C5 power returned",
        title: "mains that return while the server is away are told when it is back",
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
            log: &["ONBATT u1", "COMMBAD u1", "COMMOK u1", "ONLINE u1"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C5 power failed",
        title: "mains that fail while the server is away are told when it is back",
        steps: &[
            Send("upsd", Signal::SIGKILL),
            Logs("pri", "COMMBAD u1"),
            Set("u1", "OB"),
            Start("upsd"),
            Logs("pri", "ONBATT u1"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["COMMBAD u1", "COMMOK u1", "ONBATT u1"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C5 the same",
        title: "a server restarted on battery is no second outage",
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Send("upsd", Signal::SIGKILL),
            Logs("pri", "COMMBAD u1"),
            Start("upsd"),
            Logs("pri", "COMMOK u1"),
            Polls("pri", "u1", 3),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "COMMBAD u1", "COMMOK u1"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C6 killed",
        title: "a driver that dies on battery: stopped after DEADTIME, and the server still takes the FSD",
        upsd: "MAXAGE 3\n",
        monitors: &[HASTY],
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Send("u1", Signal::SIGKILL),
            Logs("pri", "COMMBAD u1"),
            Ends("pri"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "COMMBAD u1", "?NOCOMM u1 *", "+FSD u1", "SHUT", "SHUTDOWN"],
            forced: &["u1"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "C6 stopped",
        title: "a driver that hangs on battery is the same",
        upsd: "MAXAGE 3\n",
        monitors: &[HASTY],
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Send("u1", Signal::SIGSTOP),
            Logs("pri", "COMMBAD u1"),
            Ends("pri"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT u1", "COMMBAD u1", "?NOCOMM u1 *", "+FSD u1", "SHUT", "SHUTDOWN"],
            forced: &["u1"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "C7",
        title: "stale data on mains are told and stop nobody",
        upsd: "MAXAGE 3\n",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nDEADTIME 2\n", ..PRI }],
        steps: &[
            Send("u1", Signal::SIGSTOP),
            Logs("pri", "COMMBAD u1"),
            Polls("pri", "u1", 4),
            Send("u1", Signal::SIGCONT),
            Logs("pri", "COMMOK u1"),
            Polls("pri", "u1", 2),
        ],
        trails: &[Trail { who: "pri", log: &["COMMBAD u1", "COMMOK u1"], forced: &[], end: End::Up }],
        ..ROW
    },
    Scenario {
        id: "C8",
        title: "after a restart of the server on mains both are logged in again",
        monitors: &[PRI, SEC],
        steps: &[
            Send("upsd", Signal::SIGKILL),
            Logs("pri", "COMMBAD u1"),
            Logs("sec", "COMMBAD u1"),
            Start("upsd"),
            Logs("pri", "COMMOK u1"),
            Logs("sec", "COMMOK u1"),
            Order("pri", "fsd"),
            Ends("sec"),
            Ends("pri"),
        ],
        trails: &[
            Trail {
                who: "pri",
                log: &["COMMBAD u1", "COMMOK u1", "+FSD u1", "?+SHUTDOWN_HOSTSYNC", "SHUT", "SHUTDOWN"],
                forced: &["u1"],
                end: End::Down,
            },
            Trail {
                who: "sec",
                log: &["COMMBAD u1", "COMMOK u1", "FSD u1", "SHUT", "SHUTDOWN"],
                forced: &[],
                end: End::Down,
            },
        ],
        order: &[(("sec", "SHUT"), ("pri", "SHUT"))],
        ..ROW
    },
    Scenario {
        id: "C10",
        title: "no server at boot: told, and never a reason to stop; it is watched once it is there",
        monitors: &[HASTY],
        steps: &[
            Start("pri"),
            Logs("pri", "COMMBAD u1"),
            Logs("pri", "NOCOMM u1"),
            Logs("pri", "NOCOMM u1"),
            Start("upsd"),
            Logs("pri", "COMMOK u1"),
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["COMMBAD u1", "NOCOMM u1 *", "COMMOK u1", "ONBATT u1"],
            forced: &[],
            end: End::Up,
        }],
        nut: Nut::Differs {
            trails: &[Trail {
                who: "pri",
                log: &["COMMBAD u1", "NOCOMM u1 *", "COMMOK u1", "?ONLINE u1", "ONBATT u1"],
                forced: &[],
                end: End::Up,
            }],
            right: Right::Ours,
            why: "2.8.0 forgets that it never knew where the power came from when a connection fails, and tells of \
                  mains that had never gone; NUT does no more from 2.8.1 on",
        },
        ..ROW
    },
    Scenario {
        id: "C11",
        title: "a UPS that the server does not know is told, and stops nobody; the other is watched",
        monitors: &[Monitor {
            conf: "MONITOR u1@ 1 pri pp primary\nMONITOR nosuch@ 1 pri pp primary\nDEADTIME 2\nNOCOMMWARNTIME 600\n",
            ..PRI
        }],
        steps: &[
            Logs("pri", "COMMBAD nosuch"),
            Set("u1", "OB LB"),
            Logs("pri", "LOWBATT u1"),
            Polls("pri", "u1", 4),
        ],
        trails: &[Trail {
            who: "pri",
            log: &[
                "no login to nosuch",
                "COMMBAD nosuch",
                "?NOCOMM nosuch",
                "ONBATT u1",
                "LOWBATT u1",
                "?NOCOMM nosuch",
            ],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "C12",
        title: "a server that hangs on battery counts as lost",
        monitors: &[HASTY_SEC],
        steps: &[Set("u1", "OB"), Logs("sec", "ONBATT u1"), Send("upsd", Signal::SIGSTOP), Ends("sec")],
        trails: &[Trail {
            who: "sec",
            log: &["ONBATT u1", "COMMBAD u1", "gave up u1", "SHUT", "SHUTDOWN"],
            forced: &[],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "C15",
        title: "of two feeds one is lost for good; the other alone decides from then on",
        upses: &[("a", "OL"), ("b", "OL")],
        upsd: "MAXAGE 3\n",
        monitors: &[Monitor {
            conf: "MONITOR a@ 1 pri pp primary\nMONITOR b@ 1 pri pp primary\nDEADTIME 4\n",
            ..PRI
        }],
        steps: &[
            Set("a", "OB"),
            Logs("pri", "ONBATT a"),
            Send("a", Signal::SIGSTOP),
            Logs("pri", "COMMBAD a"),
            // Longer than DEADTIME.
            Polls("pri", "b", 7),
            Set("b", "OB"),
            Logs("pri", "ONBATT b"),
            Polls("pri", "b", 2),
            Set("b", "OB LB"),
            Ends("pri"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT a", "COMMBAD a", "ONBATT b", "LOWBATT b", "+{FSD a, FSD b}", "SHUT", "SHUTDOWN"],
            forced: &["a", "b"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "C16",
        title: "an empty status is a UPS that cannot be reached",
        steps: &[Set("u1", "\"\""), Logs("pri", "COMMBAD u1"), Set("u1", "OL"), Logs("pri", "COMMOK u1")],
        trails: &[Trail { who: "pri", log: &["COMMBAD u1", "COMMOK u1"], forced: &[], end: End::Up }],
        ..ROW
    },
];
