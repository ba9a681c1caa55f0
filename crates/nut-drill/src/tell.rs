//! How a script says that it ran: one datagram to the stage it runs on.
//!
//! The scripts of a rehearsal end in `upsdrill tell HOST SCRIPT ARGS…`, so that the timeline knows the moment and the
//! arguments, and nothing has to look for files.

use crate::record::{Recorder, What};
use serde::{Deserialize, Serialize};
use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// The environment variable that names the stage's directory, in every process of a stage.
pub const STAGE: &str = "COBNUT_STAGE";

/// Longest message taken.
const MAX_MESSAGE: usize = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    host: String,
    script: String,
    args: Vec<String>,
    notify_type: Option<String>,
    ups_name: Option<String>,
}

/// Says that a script ran on the stage that the environment names.
///
/// # Errors
/// When there is no stage, or it does not listen any more.
pub fn tell(host: String, script: String, args: Vec<String>) -> io::Result<()> {
    let stage = env::var_os(STAGE).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("not on a stage: {STAGE} is not set"))
    })?;
    let message = Message {
        host,
        script,
        args,
        notify_type: env::var("NOTIFYTYPE").ok(),
        ups_name: env::var("UPSNAME").ok(),
    };
    let bytes = serde_json::to_vec(&message)?;
    let socket = UnixDatagram::unbound()?;
    socket.send_to(&bytes, address(Path::new(&stage)))?;
    Ok(())
}

/// Where a stage listens.
fn address(stage: &Path) -> PathBuf {
    stage.join("tell")
}

/// Listens for scripts and writes into the record, until dropped.
pub(crate) fn listen(stage: &Path, recorder: Recorder) -> io::Result<tokio::task::JoinHandle<()>> {
    let socket = tokio::net::UnixDatagram::bind(address(stage))?;
    Ok(tokio::spawn(async move {
        let mut bytes = vec![0; MAX_MESSAGE];
        while let Ok(count) = socket.recv(&mut bytes).await {
            let Ok(message) = serde_json::from_slice::<Message>(bytes.get(..count).unwrap_or_default())
            else {
                continue;
            };
            let notice = (message.notify_type, message.ups_name);
            let what = What::Told { script: message.script, args: message.args, notice };
            recorder.tell(&message.host, what).await;
        }
    }))
}
