//! D: how much power there is.

use super::*;

const THREE: &[(&str, &str)] = &[("a", "OL"), ("b", "OL"), ("c", "OL")];
const TWO_OF_THREE: Monitor = Monitor {
    conf: "MONITOR a@ 1 pri pp primary\nMONITOR b@ 1 pri pp primary\nMONITOR c@ 1 pri pp primary\nMINSUPPLIES 2\n",
    ..PRI
};

/// The school's: nicole feeds the central host; paris feeds the web server.
const SCHOOL: &[(&str, &str)] = &[("nicole", "OL"), ("paris", "OL"), ("lindsay", "OL")];
const CENTRAL: Monitor = Monitor {
    name: "central",
    conf: "MONITOR nicole@ 3 pri pp master\nMONITOR paris@ 1 pri pp master\nMONITOR lindsay@ 1 pri pp master\n\
           MINSUPPLIES 3\n",
    start: Start::WithServer,
};
const WEB: Monitor =
    Monitor { name: "web", conf: "MONITOR paris@ 1 sec ss slave\nHOSTSYNC 2\n", start: Start::Later };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "D1",
        title: "two of three supplies are needed: the second loss stops the host, and all three are forced",
        upses: THREE,
        monitors: &[TWO_OF_THREE],
        steps: &[
            Set("a", "OB LB"),
            Logs("pri", "LOWBATT a"),
            Polls("pri", "a", 2),
            Set("b", "OB"),
            Logs("pri", "ONBATT b"),
            Polls("pri", "b", 2),
            Set("b", "OB LB"),
            Ends("pri"),
            Says("c", "FSD OL"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &[
                "ONBATT a",
                "LOWBATT a",
                "ONBATT b",
                "LOWBATT b",
                "+{FSD a, FSD b, FSD c}",
                "SHUT",
                "SHUTDOWN",
            ],
            forced: &["a", "b", "c"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "D2",
        title: "one of three recovers before the next is lost: nobody stops",
        upses: THREE,
        monitors: &[TWO_OF_THREE],
        steps: &[
            Set("a", "OB LB"),
            Logs("pri", "LOWBATT a"),
            Set("a", "OL"),
            Logs("pri", "ONLINE a"),
            Set("b", "OB LB"),
            Logs("pri", "LOWBATT b"),
            Polls("pri", "b", 2),
            Set("b", "OL"),
            Logs("pri", "ONLINE b"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT a", "LOWBATT a", "ONLINE a", "ONBATT b", "LOWBATT b", "ONLINE b"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "D3",
        title: "the school: what does not feed the central host does not stop it, however much of it is lost",
        upses: SCHOOL,
        monitors: &[CENTRAL, WEB],
        steps: &[
            Start("web"),
            Set("paris", "OB LB"),
            Logs("central", "LOWBATT paris"),
            // Nobody forces it: the web server stops by itself.
            Ends("web"),
            Says("paris", "OB LB"),
            Set("lindsay", "OB LB"),
            Logs("central", "LOWBATT lindsay"),
            Polls("central", "nicole", 2),
            Set("nicole", "OB LB"),
            Ends("central"),
        ],
        trails: &[
            Trail {
                who: "central",
                log: &[
                    "ONBATT paris",
                    "LOWBATT paris",
                    "ONBATT lindsay",
                    "LOWBATT lindsay",
                    "ONBATT nicole",
                    "LOWBATT nicole",
                    "+{FSD nicole, FSD paris, FSD lindsay}",
                    "SHUT",
                    "SHUTDOWN",
                ],
                forced: &["lindsay", "nicole", "paris"],
                end: End::Down,
            },
            Trail {
                who: "web",
                log: &["ONBATT paris", "LOWBATT paris", "gave up paris", "SHUT", "SHUTDOWN"],
                forced: &[],
                end: End::Down,
            },
        ],
        ..ROW
    },
    Scenario {
        id: "D4",
        title: "the school: when the central host goes, the web server goes first, although its power is fine",
        upses: SCHOOL,
        monitors: &[CENTRAL, Monitor { conf: "MONITOR paris@ 1 sec ss slave\n", ..WEB }],
        steps: &[
            Start("web"),
            Set("nicole", "OB"),
            Logs("central", "ONBATT nicole"),
            Set("nicole", "OB LB"),
            Ends("web"),
            Ends("central"),
            Says("nicole", "FSD OB LB"),
            Says("paris", "FSD OL"),
            Says("lindsay", "FSD OL"),
        ],
        trails: &[
            Trail {
                who: "central",
                log: &[
                    "ONBATT nicole",
                    "LOWBATT nicole",
                    "+{FSD nicole, FSD paris, FSD lindsay}",
                    "?+SHUTDOWN_HOSTSYNC",
                    "SHUT",
                    "SHUTDOWN",
                ],
                forced: &["lindsay", "nicole", "paris"],
                end: End::Down,
            },
            Trail { who: "web", log: &["FSD paris", "SHUT", "SHUTDOWN"], forced: &[], end: End::Down },
        ],
        order: &[(("web", "SHUT"), ("central", "SHUT"))],
        ..ROW
    },
    Scenario {
        id: "D5",
        title: "a forced shutdown of one of two feeds is no reason; of both it is",
        upses: &[("a", "OL"), ("b", "OL")],
        monitors: &[Monitor {
            conf: "MONITOR a@ 1 sec ss secondary\nMONITOR b@ 1 sec ss secondary\n",
            ..SEC
        }],
        steps: &[
            Set("a", "FSD OB LB"),
            Logs("sec", "LOWBATT a"),
            Polls("sec", "a", 2),
            Set("b", "FSD OL"),
            Ends("sec"),
        ],
        trails: &[Trail {
            who: "sec",
            log: &["FSD a", "ONBATT a", "LOWBATT a", "FSD b", "SHUT", "SHUTDOWN"],
            forced: &[],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "D6 secondary",
        title: "a UPS that feeds nothing here is told, forced or not, and stops nobody",
        upses: &[("u1", "OL"), ("u2", "OL")],
        monitors: &[Monitor {
            conf: "MONITOR u1@ 1 sec ss secondary\nMONITOR u2@ 0 sec ss secondary\n",
            ..SEC
        }],
        steps: &[
            Set("u2", "FSD OB LB"),
            Logs("sec", "LOWBATT u2"),
            Set("u2", "OL"),
            Logs("sec", "ONLINE u2"),
            Set("u2", "FSD OL"),
            Logs("sec", "FSD u2"),
            Polls("sec", "u1", 2),
        ],
        trails: &[Trail {
            who: "sec",
            log: &["FSD u2", "ONBATT u2", "LOWBATT u2", "ONLINE u2", "FSD u2"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "D6 primary",
        title: "nor does one whose primary this host is; but when the host goes, it is forced as well",
        upses: &[("u1", "OL"), ("u2", "OL")],
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nMONITOR u2@ 0 pri pp primary\n", ..PRI }],
        steps: &[
            Set("u2", "OB LB"),
            Logs("pri", "LOWBATT u2"),
            Polls("pri", "u1", 2),
            Says("u2", "OB LB"),
            Set("u1", "OB LB"),
            Ends("pri"),
            Says("u2", "FSD OB LB"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &[
                "ONBATT u2",
                "LOWBATT u2",
                "ONBATT u1",
                "LOWBATT u1",
                "+{FSD u1, FSD u2}",
                "SHUT",
                "SHUTDOWN",
            ],
            forced: &["u1", "u2"],
            end: End::Down,
        }],
        ..ROW
    },
];
