//! upsmon's file with slips of the pen in it, given to both: whatever starts NUT's upsmon starts ours, which says where,
//! what and why.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, me, stage};
use nut_drill::record::{Entry, What};
use nut_drill::stage::Host;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// How they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Both watch.
    Both,
    /// Neither does.
    Neither,
    /// Only ours does: in `docs/differences-from-nut.md` stands why.
    OnlyOurs,
}

use Start::{Both, Neither, OnlyOurs};

/// Lines behind which a good `MONITOR` line follows, and what ours says of them (nothing, if that is "").
const BEFORE: &[(&[u8], Start, &str)] = &[
    // NUT 2.0 had these in upsmon.conf's neighbours only; they cost a line each.
    (b"ACL all 0.0.0.0/0\nACCEPT all\n[section]\n= bar\nFOO\n\n", Both, ":1:1: unknown directive"),
    (
        b"POLLFREQ often\nPOLLFREQALERT -1\nDEADTIME 1.5\nHOSTSYNC\nFINALDELAY = 3\n",
        Both,
        ":5:12: FINALDELAY takes no equals",
    ),
    (
        b"MINSUPPLIES -1\nRBWARNTIME 99999999999\nNOCOMMWARNTIME \"\"\nDEBUG_MIN x\n",
        Both,
        ":3:16: NOCOMMWARNTIME takes a number",
    ),
    (
        b"NOTIFYFLAG ONBATT syslog\nNOTIFYFLAG XYZ EXEC\nNOTIFYMSG ONBATT\nNOTIFYMSG XYZ \"a\"\n",
        Both,
        ":2:12: \"XYZ\" is no type",
    ),
    (
        b"NOTIFYMSG ONBATT \"%s %d %s %n %s 100%%\"\nNOTIFYMSG ONLINE \"\xc3\xa4\xff\"\n",
        Both,
        ":2:18: a word has characters",
    ),
    (b"NOTIFYMSG ONBATT \"UPS #1\"\n", Both, ":1:23: a '#' inside quotes"),
    (b"SHUTDOWNCMD\nSHUTDOWNCMD \"\"\nNOTIFYCMD \"\"\nPOWERDOWNFLAG\n", Both, ":2:13: SHUTDOWNCMD is empty"),
    (
        b"CERTHOST elsewhere any 1 1\nCERTHOST x y 1\nCERTIDENT a\nCERTIDENT a b\n",
        Both,
        ":2:1: CERTHOST takes 4 words, found 3",
    ),
    (b"# \xe4\xf6\xfc\n\x00\x01\x02\n\xff\xfe\n\"\"\n\\\n", Both, ""),
    (
        b"SHUTDOWNEXIT maybe\nOFFDURATION x\nALARMCRITICAL yes\nPOLLFAIL_LOG_THROTTLE_MAX 2147483647\n",
        Both,
        ":1:14: SHUTDOWNEXIT takes",
    ),
    // NUT loses the MONITOR line below it.
    (b"NOTIFYMSG ONBATT \"UPS on battery\n", OnlyOurs, ":1:18: the quote that opens here is not closed"),
    (b"MINSUPPLIES 2\n", Neither, "Minimum value (MINSUPPLIES): 2"),
];

/// Whole files without another `MONITOR` line.
const WHOLE: &[(&[u8], Start, &str)] = &[
    (b"MONITOR unit@127.0.0.1:0 1 a b primary\n", Both, ":1:9: \"unit@127.0.0.1:0\" names no UPS: the port"),
    (b"MONITOR unit@127.0.0.1:99999 1 a b primary\n", Both, ":1:9: "),
    (b"MONITOR @127.0.0.1 1 a b primary\n", Both, ":1:9: \"@127.0.0.1\" names no UPS"),
    (b"MONITOR unit@ 1 a b primary\n", Both, ":1:9: \"unit@\" names no UPS"),
    (b"MONITOR unit:1 1 a b primary\n", Both, ":1:9: \"unit:1\" names no UPS"),
    (b"MONITOR \"a unit@127.0.0.1:1\" 1 a b primary\n", Both, ":1:9: "),
    (b"MONITOR unit@127.0.0.1:1 1 a b master of the house\n", Both, ":1:39: MONITOR takes 5 words, found 8"),
    (b"MONITOR unit@127.0.0.1:1 1 a b \"primary", Both, ":1:32: the quote that opens here is not closed"),
    (b"MONITOR unit@127.0.0.1:1 1 a b slav\n", Both, ":1:32: \"slav\" is no role"),
    (
        b"\xef\xbb\xbfMONITOR\tunit@127.0.0.1:1\t1x a \"\" PRIMARY\r\n",
        Both,
        ":1:26: the power value is no number",
    ),
    (b"MONITOR unit@127.0.0.1:1 1 a b \\\nprimary", Both, ""),
    (b"MONITOR u\x00nit@127.0.0.1:1 1 a b\xff primary\n", Both, ":1:9: a word has characters"),
    (b"MONITOR unit@127.0.0.1:1 1 a b primary\rMINSUPPLIES 9\r", Both, ":1:40: MONITOR takes 5 words"),
    (b"MONITOR unit@127.0.0.1:1 1 a b\n", Neither, ":1:1: MONITOR takes 5 words, found 4"),
    (b"MONITOR unit@127.0.0.1:1 one a b primary\n", Neither, ":1:26: the power value is no number"),
    (b"MONITOR unit@127.0.0.1:1 -1 a b primary\n", Neither, ":1:26: the power value cannot be \"-1\""),
    (b"monitor unit@127.0.0.1:1 1 a b primary\n", Neither, ":1:1: unknown directive"),
];

const MONITOR: &[u8] = b"MONITOR unit@127.0.0.1:1 1 a b primary\n";

fn files() -> Vec<(Vec<u8>, Start, &'static str)> {
    let long = |what: &str, before: &str, behind: &str| {
        format!("{before}{}{behind}\n", what.repeat(100_000)).into_bytes()
    };
    let with = |more: Vec<u8>| [more, MONITOR.to_vec()].concat();
    let line = "MONITOR unit@127.0.0.1:1 1 a b primary ";
    let before = BEFORE.iter().map(|(text, start, said)| (with(text.to_vec()), *start, *said));
    let whole = WHOLE.iter().map(|(text, start, said)| (text.to_vec(), *start, *said));
    before
        .chain(whole)
        .chain([
            (long("x", &format!("{line}# "), ""), Both, ""),
            (long("y ", line, ""), Both, ":1:1: the line has more than 32 words"),
            (
                long("z", "MONITOR unit@127.0.0.1:1 1 a ", " primary"),
                Both,
                ":1:30: a word is longer than 512 bytes",
            ),
            (with(long("w", "NOTIFYMSG ONBATT \"", "\"")), Both, ":1:18: a word is longer than 512 bytes"),
            (with(long("v", "", "")), Both, ":1:1: "),
        ])
        .collect()
}

/// Whole files of other years, and samples, which nothing is said of above a note. What they would do is left out.
fn other_years(oracle: &Oracle) -> Vec<(Vec<u8>, Start, &'static str)> {
    let read = |path: PathBuf| {
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let texts = [
        // As Debian ships it, and ours: with a line of one's own.
        read(oracle.root().join("etc/nut/upsmon.conf")),
        read(here.join("../etc/upsmon.conf.sample")),
        // As for NUT 2.0: master and slave.
        read(here.join("../crates/nut-conf/tests/data/school/upsmon.conf")),
        read(here.join("../crates/nut-conf/tests/data/school/upsmon-remote.conf")),
    ];
    let harmless = |text: String| {
        let text =
            text.replace("/sbin/shutdown -h +0", "true").replace("/etc/killpower", "/nonexistent/killpower");
        let text = text.replace("/sbin/upssched", "true").replace("@localhost ", "@127.0.0.1:1 ");
        let text = text.replace("@central ", "@127.0.0.1:1 ");
        [text.as_bytes(), MONITOR].concat()
    };
    texts.into_iter().map(|text| (harmless(text), Both, "")).collect()
}

/// Whether it has begun to watch (1: it misses the UPS), or has ended.
async fn watches(stage: &mut nut_drill::stage::Stage, host: &Host, label: &str) -> bool {
    let is_lost = |entry: &Entry| entry.is_line(&host.name, label, "Communications with UPS");
    let is_over = |entry: &Entry| {
        entry.host == host.name && matches!(&entry.what, What::Ended { program, .. } if program == label)
    };
    let what = format!("{label} watches or ends on {}", host.name);
    let entry =
        stage.record.wait(0, PATIENCE, &what, |entry| is_lost(entry) || is_over(entry)).await.unwrap();
    is_lost(&entry)
}

#[tokio::test]
async fn whatever_file_starts_nuts_upsmon_starts_ours_which_says_what_is_wrong_with_it() {
    let Some(oracle) = Oracle::get("whatever_file_starts_nuts_upsmon_starts_ours") else { return };
    let mut stage = stage();
    // A few at a time.
    let clean = other_years(oracle);
    let all: Vec<_> = files().into_iter().chain(clean.clone()).collect();
    for (lot, files) in all.chunks(8).enumerate() {
        let mut running = Vec::new();
        for (nth, (text, start, said)) in files.iter().enumerate() {
            let host = stage.host(&format!("host{lot}-{nth}")).unwrap();
            let path = host.conf.join("upsmon.conf");
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
            file.write_all(text).unwrap();
            file.write_all(format!("\nRUN_AS_USER {}\n", me()).as_bytes()).unwrap();
            let theirs = oracle.start(&stage, &host, "nut-upsmon", &["upsmon", "-F", "-p"]).unwrap();
            let ours = stage.start(&host, "upsmon", &["-F", "-p"]).unwrap();
            running.push((host, text, start, said, theirs, ours));
        }
        for (host, text, start, said, ..) in &running {
            let theirs = watches(&mut stage, host, "nut-upsmon").await;
            let ours = watches(&mut stage, host, "upsmon").await;
            let expected = match start {
                Both => (true, true),
                Neither => (false, false),
                OnlyOurs => (false, true),
            };
            let shown = String::from_utf8_lossy(text.get(..200).unwrap_or(text));
            assert_eq!((theirs, ours), expected, "{shown}");
            let entries = stage.record.entries();
            let says = |words: &str| entries.iter().find(|entry| entry.is_line(&host.name, "upsmon", words));
            assert!(says(said).is_some(), "{said:?} of {shown}");
            let is_clean = clean.iter().any(|(clean, ..)| clean == *text);
            assert!(!is_clean || says("upsmon.conf:").is_none(), "{:?}", says("upsmon.conf:"));
        }
    }
}
