//! D: power values and MINSUPPLIES.

use super::*;

const THREE: &str =
    "MONITOR a@ 1 pri pp primary\nMONITOR b@ 1 pri pp primary\nMONITOR c@ 1 pri pp primary\nMINSUPPLIES 2\n";

/// The school's central host: fed by nicole alone, in charge of all three; in the words of NUT 2.0.
const CENTRAL: Monitor = Monitor {
    name: "central",
    conf: "MONITOR nicole@ 3 pri pp master\nMONITOR paris@ 1 pri pp master\nMONITOR lindsay@ 1 pri pp master\n\
           MINSUPPLIES 3\n",
    start: Start::WithServer,
};

const SCHOOL: &[(&str, &str)] = &[("paris", "OL"), ("nicole", "OL"), ("lindsay", "OL")];

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "D1",
        title: "two of three supplies are needed: the second low battery stops the host, and all three are forced",
        upses: &[("a", "OL"), ("b", "OL"), ("c", "OL")],
        monitors: &[Monitor { conf: THREE, ..PRI }],
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
        title: "two of three supplies are needed: one after the other is low, and returns; nobody stops",
        upses: &[("a", "OL"), ("b", "OL"), ("c", "OL")],
        monitors: &[Monitor { conf: THREE, ..PRI }],
        steps: &[
            Set("a", "OB LB"),
            Logs("pri", "LOWBATT a"),
            Set("a", "OL"),
            Logs("pri", "ONLINE a"),
            Set("b", "OB LB"),
            Logs("pri", "LOWBATT b"),
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
        title: "the school: paris and lindsay are low and the central host goes on; nicole is, and it stops",
        upses: SCHOOL,
        monitors: &[
            CENTRAL,
            Monitor {
                name: "web",
                conf: "MONITOR paris@ 1 sec ss slave\nHOSTSYNC 2\n",
                start: Start::WithServer,
            },
        ],
        steps: &[
            Set("paris", "OB"),
            Logs("central", "ONBATT paris"),
            Logs("web", "ONBATT paris"),
            Set("paris", "OB LB"),
            Logs("central", "LOWBATT paris"),
            Ends("web"),
            Says("paris", "OB LB"),
            Set("lindsay", "OB LB"),
            Logs("central", "LOWBATT lindsay"),
            Polls("central", "lindsay", 2),
            Set("nicole", "OB LB"),
            Ends("central"),
            Says("paris", "FSD OB LB"),
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
                forced: &["nicole", "paris", "lindsay"],
                end: End::Down,
            },
            Trail {
                who: "web",
                log: &["ONBATT paris", "LOWBATT paris", "gave up paris", "SHUT", "SHUTDOWN"],
                forced: &[],
                end: End::Down,
            },
        ],
        order: &[(("web", "gone"), ("central", "SHUT"))],
        ..ROW
    },
    Scenario {
        id: "D4",
        title: "the school: the central host goes down and takes everybody along, whose power is fine, too",
        upses: SCHOOL,
        monitors: &[
            CENTRAL,
            Monitor { name: "web", conf: "MONITOR paris@ 1 sec ss slave\n", start: Start::WithServer },
        ],
        steps: &[
            Set("nicole", "OB"),
            Logs("central", "ONBATT nicole"),
            Set("nicole", "OB LB"),
            Ends("web"),
            Ends("central"),
            Says("paris", "FSD OL"),
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
                forced: &["nicole", "paris", "lindsay"],
                end: End::Down,
            },
            Trail { who: "web", log: &["FSD paris", "SHUT", "SHUTDOWN"], forced: &[], end: End::Down },
        ],
        order: &[(("web", "gone"), ("central", "SHUT"))],
        ..ROW
    },
    Scenario {
        id: "D5",
        title: "FSD on one of two feeds stops nobody, on both it does",
        upses: &[("a", "OL"), ("b", "OL")],
        monitors: &[Monitor {
            conf: "MONITOR a@ 1 sec ss secondary\nMONITOR b@ 1 sec ss secondary\n",
            ..SEC
        }],
        steps: &[Forces("a"), Logs("sec", "FSD a"), Polls("sec", "a", 3), Forces("b"), Ends("sec")],
        trails: &[Trail {
            who: "sec",
            log: &["FSD a", "FSD b", "SHUT", "SHUTDOWN"],
            forced: &[],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "D6",
        title: "a UPS that is watched only never counts, but is forced by its primary, too",
        upses: &[("u1", "OL"), ("u2", "OL")],
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nMONITOR u2@ 0 pri pp primary\n", ..PRI }],
        steps: &[
            Set("u2", "OB LB"),
            Logs("pri", "LOWBATT u2"),
            Polls("pri", "u2", 3),
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
