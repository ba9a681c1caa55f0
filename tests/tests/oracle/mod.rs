//! NUT's own programs: Debian's 2.8.0, unpacked by `tests/oracle/fetch.sh`, never installed.
//!
//! Where they are not to be had a test is skipped and says so; with `COBNUT_ORACLE_REQUIRED=1` (as `.ci/run` sets it)
//! that is a failure.

use nut_drill::stage::{Host, Running, Stage, StageError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The environment variable that turns a skipped test into a failed one.
const REQUIRED: &str = "COBNUT_ORACLE_REQUIRED";

/// NUT's own programs, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    scripts: PathBuf,
    root: PathBuf,
}

impl Oracle {
    /// The oracle, fetched if need be; `None`, with a word on standard error, where it is not to be had.
    pub(crate) fn get(test: &str) -> Option<&'static Self> {
        static ORACLE: OnceLock<Result<Oracle, String>> = OnceLock::new();
        let found = ORACLE.get_or_init(|| {
            let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle");
            let fetched = Command::new("bash").arg(scripts.join("fetch.sh")).output();
            match fetched {
                Ok(output) if output.status.success() => {
                    let said = String::from_utf8_lossy(&output.stdout);
                    let root = said.lines().last().map(PathBuf::from).ok_or("fetch.sh names no folder")?;
                    Ok(Oracle { scripts, root })
                }
                Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
                Err(error) => Err(format!("bash: {error}")),
            }
        });
        match found {
            Ok(oracle) => Some(oracle),
            Err(reason) => {
                assert!(
                    std::env::var_os(REQUIRED).is_none(),
                    "{test} needs NUT's own programs ({REQUIRED} is set): {reason}"
                );
                eprintln!("skipped: {test}: NUT's own programs are not to be had: {reason}");
                None
            }
        }
    }

    /// Where its packages are unpacked.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Starts one of NUT's programs on a host of a stage.
    pub(crate) fn start(
        &self,
        stage: &Stage,
        host: &Host,
        label: &str,
        args: &[&str],
    ) -> Result<Running, StageError> {
        self.start_with(stage, host, label, args, &[])
    }

    /// The same with further environment.
    pub(crate) fn start_with(
        &self,
        stage: &Stage,
        host: &Host,
        label: &str,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Running, StageError> {
        stage.start_at(host, label, &self.scripts.join("run.sh"), args, environment)
    }
}
