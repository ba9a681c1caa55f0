//! What the files say, and which UPSes that makes.

use crate::descriptions::Descriptions;
use crate::events::Outputs;
use crate::notes::Note;
use nut_conf::ups_conf::UpsConf;
use nut_conf::upsd_conf::UpsdConf;
use nut_conf::upsd_users::UpsdUsers;
use nut_proto::driver::socket_name;
use nut_proto::names::UpsName;
use std::collections::HashMap;

/// What the files say.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// upsd.conf.
    pub upsd: UpsdConf,
    /// ups.conf.
    pub ups: UpsConf,
    /// upsd.users.
    pub users: UpsdUsers,
    /// cmdvartab, or what stands in for it.
    pub descriptions: Descriptions,
    /// Whether there is a certificate to speak TLS with.
    pub speaks_tls: bool,
    /// Most clients at a time: what descriptors there are for, or less (`MAXCONN`).
    pub most_clients: usize,
}

/// A UPS as ups.conf wants it.
pub(crate) struct Section {
    /// Its name.
    pub(crate) name: UpsName,
    /// `desc`.
    pub(crate) description: Option<String>,
    /// The file name of its driver's socket.
    pub(crate) socket: String,
}

/// The sections that make a UPS, in the file's order. Of names that differ in case only, the later counts.
pub(crate) fn sections(conf: &UpsConf, out: &mut Outputs) -> Vec<Section> {
    let mut wanted: Vec<Section> = Vec::with_capacity(conf.sections.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    for section in &conf.sections {
        let (Some(driver), Some(_)) = (&section.driver, &section.port) else {
            out.notes.push(Note::Incomplete { ups: section.name.clone() });
            continue;
        };
        let one = Section {
            name: section.name.clone(),
            description: section.desc.clone(),
            socket: socket_name(driver, &section.name),
        };
        let key = section.name.as_str().to_ascii_lowercase();
        match places.get(&key).and_then(|at| wanted.get_mut(*at)) {
            Some(earlier) => {
                out.notes.push(Note::NameInUse { ups: section.name.clone() });
                *earlier = one;
            }
            None => {
                places.insert(key, wanted.len());
                wanted.push(one);
            }
        }
    }
    wanted
}
