//! The programs of the house as built executables: where they are, and that they are fresh.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use thiserror::Error;

/// Where the built programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

/// Why the programs cannot be used.
#[derive(Debug, Error)]
pub enum ProgramsError {
    /// We do not know where we run from.
    #[error("this program's own place is unknown")]
    Nowhere(#[source] std::io::Error),
    /// `cargo build` could not be run.
    #[error("cannot run {cargo} to build the programs")]
    NoCargo {
        /// What was tried.
        cargo: String,
        /// Why not.
        source: std::io::Error,
    },
    /// `cargo build` failed; it said why on standard error.
    #[error("the programs do not build; see the compiler's messages above")]
    NotBuilt,
    /// A program is not where it should be.
    #[error("there is no program {name} in {folder}; build it with: cargo build --workspace --bins")]
    Missing {
        /// The program.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
}

impl Programs {
    /// Builds all programs if anything changed (0.2 s when nothing did) and says where they are.
    ///
    /// A program that was started by cargo (a test, `cargo drill`) builds; an installed one takes what stands beside
    /// it. So a stale program never passes a test.
    ///
    /// # Errors
    /// See [`ProgramsError`].
    pub fn fresh() -> Result<Self, ProgramsError> {
        let own = env::current_exe().map_err(ProgramsError::Nowhere)?;
        let folder = own.parent().unwrap_or(Path::new("/"));
        // A test's own executable stands one folder deeper.
        let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
        if let Some(package) = Self::to_build() {
            let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(&cargo);
            build.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(package);
            if folder.ends_with("release") {
                build.arg("--release");
            }
            let status = build.status().map_err(|source| ProgramsError::NoCargo {
                cargo: cargo.to_string_lossy().into_owned(),
                source,
            })?;
            if !status.success() {
                return Err(ProgramsError::NotBuilt);
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The package to build in, if [`Programs::fresh`] builds: the first time that takes a minute.
    #[must_use]
    pub fn to_build() -> Option<std::ffi::OsString> {
        env::var_os("CARGO_MANIFEST_DIR")
    }

    /// The path of one program.
    ///
    /// # Errors
    /// [`ProgramsError::Missing`].
    pub fn path(&self, name: &str) -> Result<PathBuf, ProgramsError> {
        let path = self.folder.join(name);
        if path.is_file() {
            Ok(path)
        } else {
            Err(ProgramsError::Missing { name: name.to_owned(), folder: self.folder.clone() })
        }
    }

    /// The folder they all stand in: `driverpath` for upsdrvctl.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
