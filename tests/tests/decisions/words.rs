//! F and G: words of the status, files, passwords and processes.

use super::*;

const TWO: &[(&str, &str)] = &[("u1", "OL"), ("u2", "OL")];
const WATCHER: Monitor = Monitor { conf: "MONITOR u1@ 0 sec ss secondary\nMINSUPPLIES 0\n", ..SEC };

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "F1",
        title: "calibrating excuses low battery, and is over when it is",
        steps: &[
            Set("u1", "OB CAL"),
            Logs("pri", "CAL u1"),
            Set("u1", "OB LB CAL"),
            Logs("pri", "LOWBATT u1"),
            Polls("pri", "u1", 3),
            Set("u1", "OL"),
            Logs("pri", "ONLINE u1"),
            Set("u1", "OB LB"),
            Logs("pri", "LOWBATT u1"),
            Rests(3),
        ],
        trails: &[Trail {
            who: "pri",
            log: &[
                "{ONBATT u1, CAL u1}",
                "LOWBATT u1",
                "{NOTCAL u1, ONLINE u1}",
                "ONBATT u1",
                "LOWBATT u1",
                "FSD u1",
                "SHUT",
                "SHUTDOWN",
            ],
            forced: &["u1"],
            end: End::Down,
        }],
        nut: Nut::Differs {
            trails: &[Trail {
                who: "pri",
                log: &["{ONBATT u1, CAL u1}", "LOWBATT u1", "ONLINE u1", "ONBATT u1", "LOWBATT u1"],
                forced: &[],
                end: End::Up,
            }],
            right: Right::Ours,
            why: "2.8.0 never forgets that a UPS calibrated: from then on it runs until its battery is empty; NUT \
                  mended that in 2.8.2",
        },
        ..ROW
    },
    Scenario {
        id: "F2",
        title: "a battery to be replaced is told again after RBWARNTIME",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nRBWARNTIME 2\n", ..PRI }],
        steps: &[Set("u1", "OL RB"), Logs("pri", "REPLBATT u1"), Logs("pri", "REPLBATT u1")],
        trails: &[Trail { who: "pri", log: &["REPLBATT u1 *"], forced: &[], end: End::Up }],
        ..ROW
    },
    Scenario {
        id: "F2 once",
        title: "and not before",
        steps: &[
            Set("u1", "OL RB"),
            Logs("pri", "REPLBATT u1"),
            Set("u1", "OL"),
            Says("u1", "OL"),
            Polls("pri", "u1", 2),
            Set("u1", "OL RB"),
            Says("u1", "OL RB"),
            Polls("pri", "u1", 2),
        ],
        trails: &[Trail { who: "pri", log: &["REPLBATT u1"], forced: &[], end: End::Up }],
        ..ROW
    },
    Scenario {
        id: "F3",
        title: "a UPS that is switched off counts as dead after OFFDURATION",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nOFFDURATION 2\n", ..PRI }],
        steps: &[Set("u1", "OFF"), Says("u1", "OFF"), Rests(5)],
        trails: &[Trail {
            who: "pri",
            log: &["OFF u1", "FSD u1", "SHUT", "SHUTDOWN"],
            forced: &["u1"],
            end: End::Down,
        }],
        nut: Nut::Differs {
            trails: &[Trail { who: "pri", log: &[], forced: &[], end: End::Up }],
            right: Right::Either,
            why: "2.8.0 does not know the word; from 2.8.1 on NUT does as we do",
        },
        ..ROW
    },
    Scenario {
        id: "F7 lower case",
        title: "a status in lower case is read, and told once",
        monitors: &[WATCHER],
        steps: &[Set("u1", "ob lb"), Logs("sec", "LOWBATT u1"), Polls("sec", "u1", 3)],
        trails: &[Trail { who: "sec", log: &["ONBATT u1", "LOWBATT u1"], forced: &[], end: End::Up }],
        nut: Nut::Differs {
            trails: &[Trail { who: "sec", log: &["ONBATT u1", "LOWBATT u1 *"], forced: &[], end: End::Up }],
            right: Right::Ours,
            why: "NUT's looks for words in any case, but forgets them unless they are in upper case, and so tells of \
                  low battery at every poll",
        },
        ..ROW
    },
    Scenario {
        id: "F7 part of a word",
        title: "a word that only contains LB is not LB",
        monitors: &[WATCHER],
        steps: &[
            Set("u1", "OL LB"),
            Logs("sec", "LOWBATT u1"),
            Set("u1", "OL XLBX"),
            Says("u1", "OL XLBX"),
            Polls("sec", "u1", 2),
            Set("u1", "OL LB"),
            Says("u1", "OL LB"),
            Polls("sec", "u1", 2),
        ],
        trails: &[Trail { who: "sec", log: &["LOWBATT u1", "LOWBATT u1"], forced: &[], end: End::Up }],
        nut: Nut::Differs {
            trails: &[Trail { who: "sec", log: &["LOWBATT u1"], forced: &[], end: End::Up }],
            right: Right::Ours,
            why: "NUT's searches the whole text: to it the battery was low all the time",
        },
        ..ROW
    },
    Scenario {
        id: "F7 both",
        title: "a status that says OL and OB is battery, once",
        monitors: &[WATCHER],
        steps: &[Set("u1", "OL OB"), Logs("sec", "ONBATT u1"), Polls("sec", "u1", 3)],
        trails: &[Trail { who: "sec", log: &["ONBATT u1"], forced: &[], end: End::Up }],
        nut: Nut::NotRun("NUT's tells both at every poll; how often is a matter of luck"),
        ..ROW
    },
    Scenario {
        id: "G1",
        title: "a reload takes a UPS in and lets one go, and changes a power value and a role",
        upses: &[("u1", "OL"), ("u2", "OL"), ("u3", "OL")],
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nMONITOR u2@ 1 pri pp primary\n", ..PRI }],
        steps: &[
            Write("pri", "MONITOR u1@ 2 pri pp secondary\nMONITOR u3@ 0 pri pp secondary\n"),
            Order("pri", "reload"),
            Logs("pri", "watches no longer u2"),
            Polls("pri", "u3", 2),
            Set("u2", "OB"),
            Says("u2", "OB"),
            Set("u3", "OB"),
            Logs("pri", "ONBATT u3"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["reload", "new power value of u1", "secondary of u1", "watches no longer u2", "ONBATT u3"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
    Scenario {
        id: "G2",
        title: "a reload on battery changes nothing of what is known",
        upses: TWO,
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nMONITOR u2@ 1 pri pp primary\n", ..PRI }],
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Order("pri", "reload"),
            Logs("pri", "reload"),
            Polls("pri", "u1", 3),
        ],
        trails: &[Trail { who: "pri", log: &["ONBATT u1", "reload"], forced: &[], end: End::Up }],
        ..ROW
    },
    Scenario {
        id: "G3",
        title: "an impossible file is refused at a reload, and the old one stays in force",
        steps: &[
            Write("pri", "MONITOR u1@ 1 pri pp primary\nMINSUPPLIES 2\n"),
            Order("pri", "reload"),
            Logs("pri", "reload"),
            Rests(2),
        ],
        trails: &[Trail { who: "pri", log: &["reload"], forced: &[], end: End::Up }],
        nut: Nut::Differs {
            trails: &[Trail { who: "pri", log: &["reload"], forced: &[], end: End::Exit(1) }],
            right: Right::Ours,
            why: "NUT's ends, and the host is unwatched for a slip of the pen",
        },
        ..ROW
    },
    Scenario {
        id: "G4",
        title: "with a wrong password it watches all the same, and stops its host, but cannot force anything",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri WRONG primary\n", ..PRI }],
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Set("u1", "OB LB"),
            Ends("pri"),
            Says("u1", "OB LB"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["no login to u1", "ONBATT u1", "LOWBATT u1", "no FSD for u1", "SHUT", "SHUTDOWN"],
            forced: &["u1 = ERR ACCESS-DENIED"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "G5",
        title: "with a secondary's account a primary may not force either, is told so, and stops its host",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 sec ss primary\n", ..PRI }],
        steps: &[
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Set("u1", "OB LB"),
            Ends("pri"),
            Says("u1", "OB LB"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["is no primary of u1", "ONBATT u1", "LOWBATT u1", "no FSD for u1", "SHUT", "SHUTDOWN"],
            forced: &["u1 = ERR ACCESS-DENIED"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "G7",
        title: "an order to stop ends it with success and stops no host",
        steps: &[Set("u1", "OB"), Logs("pri", "ONBATT u1"), Order("pri", "stop"), Ends("pri")],
        trails: &[Trail { who: "pri", log: &["ONBATT u1"], forced: &[], end: End::Exit(0) }],
        ..ROW
    },
    Scenario {
        id: "G8",
        title: "without its root half it says so, and goes on to watch",
        monitors: &[Monitor { start: Start::Split, ..PRI }],
        steps: &[
            Send("pri", Signal::SIGKILL),
            Logs("pri", "NOPARENT"),
            Set("u1", "OB"),
            Logs("pri", "ONBATT u1"),
            Set("u1", "OB LB"),
            Logs("pri", "cannot reach its parent"),
            Says("u1", "FSD OB LB"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &[
                "NOPARENT",
                "ONBATT u1",
                "LOWBATT u1",
                "+FSD u1",
                "SHUT",
                "SHUTDOWN",
                "cannot reach its parent",
                "?NOPARENT",
            ],
            forced: &["u1"],
            end: End::Killed,
        }],
        ..ROW
    },
];
