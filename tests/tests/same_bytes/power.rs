//! `apcsmart -k`: the same bytes as NUT's behind the start, for each method, unit and state of the line, but where NUT's
//! driver does not know the state of the line, or what an old unit ignores.

use super::{Whose, instant, place};
use crate::oracle::Oracle;
use crate::support::{PATIENCE, all, me, stage};
use nut_drill::sim::{Direction, Event, Mains, Profile};
use nut_drill::stage::Stage;

/// One way of cutting the power.
struct Cut {
    unit: &'static str,
    mains: Mains,
    /// Lines of the section.
    options: String,
    /// What ours says instead of what NUT's says, where they differ.
    instead: Option<(&'static str, &'static str)>,
}

const NEW: &str = "smart-ups-1400-70.9.I";
const OLD: &str = "smart-ups-900i-7TI";
const MUTE: &str = "smart-ups-vs-420-42.L.I";

/// Every unit by each method on battery, where NUT's broken look at the line does no harm; one unit of each generation
/// on mains, too; and the options that change a method.
fn cuts() -> Vec<Cut> {
    let cut = |unit, mains, options: &str, instead| Cut { unit, mains, options: options.to_owned(), instead };
    let mut cuts = Vec::new();
    for unit in Profile::ids() {
        for sdtype in 0..=5 {
            // A unit is asked for its generation before @000: an old one would ignore that, and is sent @001.
            let ours = match unit {
                OLD => "YQV@001R",
                // It answers neither V nor b.
                MUTE => "YQVb@000R",
                _ => "YQV@000R",
            };
            let instead = (sdtype == 5).then_some(("YQ@000R", ours));
            cuts.push(cut(unit, Mains::Off, &format!("sdtype = {sdtype}"), instead));
        }
    }
    for (options, instead) in [
        // NUT always takes the line for lost: `S` on mains does nothing.
        ("sdtype = 0", Some(("YQSR", "YQV@000R"))),
        ("sdtype = 1", Some(("YQS@000R", "YQV@000R"))),
        ("sdtype = 2", None),
        ("sdtype = 3", None),
        ("sdtype = 4", Some(("YQSR", "YQUSR"))),
        ("sdtype = 5", Some(("YQ@000R", "YQV@000R"))),
        ("sdtype = 5\nawd = 7", None),
        // Two digits are too few for this unit: ours sends three then.
        ("sdtype = 5\nawd = 05", Some(("YQ@05YR", "YQ@05Y@005R"))),
        ("sdtype = 5\nawd = 123", None),
        ("advorder = 0", Some(("YQSR", "YQSYQSR"))),
        ("advorder = 01234", Some(("YQS@000R", "YQSV@000R"))),
        ("advorder = 21", None),
        ("advorder = 3", None),
        ("advorder = 4", Some(("YQSR", "YQUSR"))),
        ("advorder = no\nsdtype = 3", None),
    ] {
        cuts.push(cut(NEW, Mains::On, options, instead));
    }
    cuts
}

/// What is said to the unit, from the last time it is led into smart mode on.
async fn said(stage: &Stage, oracle: &Oracle, whose: Whose, nth: usize, cut: &Cut) -> String {
    let (host, unit, tty) = place(stage, whose, cut.unit, &nth.to_string(), instant());
    let conf = format!(
        "user = {}\n[unit]\n  driver = apcsmart\n  port = {}\n{}\n",
        me(),
        tty.display(),
        cut.options
    );
    stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
    unit.send(Event::Mains(cut.mains)).await;
    unit.state().await.unwrap();
    let mut traffic = unit.traffic();
    match whose {
        Whose::Ours => {
            let run = stage.run(&host, "apcsmart", &["-a", "unit", "-k"]);
            tokio::time::timeout(PATIENCE, run).await.expect("ours ends in time").unwrap();
        }
        Whose::Nuts => {
            let args = ["apcsmart", "-a", "unit", "-u", &me(), "-k"];
            let mut running = oracle.start(stage, &host, "nut-apcsmart", &args).unwrap();
            tokio::time::timeout(PATIENCE, running.ended()).await.expect("NUT's ends in time");
        }
    }
    unit.state().await.unwrap();
    let mut bytes = Vec::new();
    while let Ok(one) = traffic.try_recv() {
        if one.direction == Direction::FromHost {
            bytes.extend(one.bytes);
        }
    }
    // NUT's starts up as always first, which never asks for the status. The farewell ends it: once the line is free,
    // whoever still looks for a terminal that had this number may say something.
    let all = bytes.escape_ascii().to_string();
    let tail = all.find("YQ").map_or("", |at| &all[at..]);
    tail.find('R').map_or_else(|| format!("{whose:?}: no shutdown in {all}"), |end| tail[..=end].to_owned())
}

#[tokio::test]
async fn the_power_is_cut_by_nuts_bytes() {
    let Some(oracle) = Oracle::get("the_power_is_cut_by_nuts_bytes") else { return };
    let stage = stage();
    let cuts = cuts();
    // A few beside each other.
    let pieces: Vec<_> = cuts.iter().enumerate().collect();
    let compared = all(pieces.chunks(pieces.len().div_ceil(8)).map(async |piece| {
        let mut wrong = Vec::new();
        for (nth, cut) in piece {
            let ours = said(&stage, oracle, Whose::Ours, *nth, cut).await;
            let nuts = said(&stage, oracle, Whose::Nuts, *nth, cut).await;
            let expected = match cut.instead {
                Some((instead_of, ours)) if nuts == instead_of => ours,
                Some(_) => "something else of NUT's",
                None => &nuts,
            };
            if ours != expected {
                wrong.push(format!(
                    "{} {:?} {}: ours {ours}, NUT's {nuts}",
                    cut.unit,
                    cut.mains,
                    cut.options.replace('\n', ", ")
                ));
            }
        }
        wrong
    }))
    .await;
    let wrong = compared.concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
