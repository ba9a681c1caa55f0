//! The programs of the house as built executables: where they are, and that they are fresh.

use std::env;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use thiserror::Error;

/// The release of NUT whose behaviour the programs follow, and which they say they are.
pub use nut_os::options::NUT_LEVEL;

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
    /// So a stale program never passes a test.
    ///
    /// # Errors
    /// See [`ProgramsError`].
    pub fn fresh() -> Result<Self, ProgramsError> {
        let programs = Self::built()?;
        if let Some(mut build) = programs.build() {
            let ended = build.status();
            Self::judge(&build, ended)?;
        }
        Ok(programs)
    }

    /// The programs as they are: beside this one.
    ///
    /// # Errors
    /// [`ProgramsError::Nowhere`].
    pub fn built() -> Result<Self, ProgramsError> {
        let own = env::current_exe().map_err(ProgramsError::Nowhere)?;
        let folder = own.parent().unwrap_or(Path::new("/"));
        // A test's own executable stands one folder deeper.
        let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
        Ok(Self { folder: folder.to_owned() })
    }

    /// The same programs by another path to their folder.
    #[must_use]
    pub fn seen_at(&self, folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The command that builds them, for a program that was started by cargo (a test, `cargo drill`); an installed one
    /// takes what stands beside it.
    #[must_use]
    pub fn build(&self) -> Option<Command> {
        let package = env::var_os("CARGO_MANIFEST_DIR")?;
        let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--workspace", "--bins"]).current_dir(package);
        if self.folder.ends_with("release") {
            build.arg("--release");
        }
        // Its progress is for people; for a file its complaints are enough.
        if !std::io::stderr().is_terminal() {
            build.arg("--quiet");
        }
        Some(build)
    }

    /// What the end of the build means.
    ///
    /// # Errors
    /// See [`ProgramsError`].
    pub fn judge(build: &Command, ended: std::io::Result<ExitStatus>) -> Result<(), ProgramsError> {
        match ended {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(ProgramsError::NotBuilt),
            Err(source) => Err(ProgramsError::NoCargo {
                cargo: build.get_program().to_string_lossy().into_owned(),
                source,
            }),
        }
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

    /// The folder they all stand in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
