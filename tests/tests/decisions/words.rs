//! F and G: words of the status besides OB and LB, and what a configuration and its reload do.

use super::*;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        id: "F1",
        title: "a calibration excuses a low battery",
        steps: &[
            Set("u1", "OB CAL"),
            Logs("pri", "CAL u1"),
            Set("u1", "OB LB CAL"),
            Logs("pri", "LOWBATT u1"),
            Polls("pri", "u1", 3),
            Set("u1", "OL"),
            Logs("pri", "ONLINE u1"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["{ONBATT u1, CAL u1}", "LOWBATT u1", "{ONLINE u1, NOTCAL u1}"],
            forced: &[],
            end: End::Up,
        }],
        nut: Nut::Differs {
            trails: &[Trail {
                who: "pri",
                log: &["{ONBATT u1, CAL u1}", "LOWBATT u1", "ONLINE u1"],
                forced: &[],
                end: End::Up,
            }],
            right: Right::Either,
            why: "NOTCAL came with 2.8.2",
        },
        ..ROW
    },
    Scenario {
        id: "F1 is over",
        title: "a calibration that is over excuses nothing any more",
        steps: &[
            Set("u1", "OB CAL"),
            Logs("pri", "CAL u1"),
            Set("u1", "OL"),
            Logs("pri", "ONLINE u1"),
            Set("u1", "OB LB"),
            Ends("pri"),
        ],
        trails: &[Trail {
            who: "pri",
            log: &[
                "{ONBATT u1, CAL u1}",
                "{ONLINE u1, NOTCAL u1}",
                "ONBATT u1",
                "LOWBATT u1",
                "FSD u1",
                "SHUT",
                "SHUTDOWN",
            ],
            forced: &["u1"],
            end: End::Down,
        }],
        nut: Nut::NotRun(
            "2.8.0 never forgets that it calibrated, and runs on until the power ends: nothing can be waited for",
        ),
        ..ROW
    },
    Scenario {
        id: "F2",
        title: "a battery to be replaced is told every RBWARNTIME, and does nothing else",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri pp primary\nRBWARNTIME 1\n", ..PRI }],
        steps: &[Set("u1", "OL RB"), Logs("pri", "REPLBATT u1"), Logs("pri", "REPLBATT u1")],
        trails: &[Trail { who: "pri", log: &["REPLBATT u1 *"], forced: &[], end: End::Up }],
        ..ROW
    },
    Scenario {
        id: "G4",
        title: "a wrong password: it watches, cannot force, and stops its own host all the same",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 pri wrong primary\n", ..PRI }],
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
        title: "a secondary's account used by a primary: logged in, without its rights",
        monitors: &[Monitor { conf: "MONITOR u1@ 1 sec ss primary\n", ..PRI }],
        steps: &[Set("u1", "OB LB"), Ends("pri"), Says("u1", "OB LB")],
        trails: &[Trail {
            who: "pri",
            log: &["is no primary of u1", "ONBATT u1", "LOWBATT u1", "no FSD for u1", "SHUT", "SHUTDOWN"],
            forced: &["u1 = ERR ACCESS-DENIED"],
            end: End::Down,
        }],
        ..ROW
    },
    Scenario {
        id: "G2",
        title: "a reload on battery changes a role and tells nothing again",
        upses: &[("a", "OB"), ("b", "OL")],
        monitors: &[Monitor { conf: "MONITOR a@ 1 pri pp primary\nMONITOR b@ 1 pri pp primary\n", ..PRI }],
        steps: &[
            Logs("pri", "ONBATT a"),
            Order("pri", "reload"),
            Logs("pri", "reload"),
            Polls("pri", "b", 2),
            Write("pri", "MONITOR a@ 1 pri pp secondary\nMONITOR b@ 1 pri pp primary\n"),
            Order("pri", "reload"),
            Logs("pri", "secondary of a"),
            Polls("pri", "b", 2),
            Write("pri", "MONITOR b@ 1 pri pp primary\n"),
            Order("pri", "reload"),
            Logs("pri", "watches no longer a"),
            Polls("pri", "b", 2),
        ],
        trails: &[Trail {
            who: "pri",
            log: &["ONBATT a", "reload", "reload", "secondary of a", "reload", "watches no longer a"],
            forced: &[],
            end: End::Up,
        }],
        ..ROW
    },
];
