//! Reading `upsmon.conf` from the disk, and saying what is wrong with it.

use std::error::Error as _;
use std::path::Path;

use nut_conf::{Diagnostic, Severity};
use nut_os::files::{describe_permissions, read_limited};
use nut_os::log::plain;
use nut_os::privilege::whoami;
use tracing::{error, info, warn};

/// Largest file that is read, in bytes; the parser takes less and says so.
const MAX_FILE: usize = 16 * 1024 * 1024;

/// The file's text.
///
/// # Errors
/// A clause as NUT has it: `can't open FILE: Permission denied`, there with whose the file is and who we are.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_limited(path, MAX_FILE).map_err(|error| {
        let cause = error.source().map_or_else(|| error.to_string(), plain);
        let whose = if error.is_denied() { why_denied(path) } else { String::new() };
        format!("can't open {}: {cause}{whose}", path.display())
    })
}

/// Who may read the file, and that this is not us.
fn why_denied(path: &Path) -> String {
    format!(" ({}; we are {})", describe_permissions(path), whoami())
}

/// Logs all that is wrong with a file, a line each.
pub fn log(findings: &[Diagnostic]) {
    for finding in findings {
        let text = in_one_line(finding);
        match finding.severity {
            Severity::Error => error!("{text}"),
            Severity::Warning => warn!("{text}"),
            Severity::Note => info!("{text}"),
        }
    }
}

/// A finding without its excerpt, for the log.
#[must_use]
pub fn in_one_line(finding: &Diagnostic) -> String {
    let short = Diagnostic { excerpt: String::new(), ..finding.clone() };
    let text = short.to_string();
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_conf::{Source, upsmon_conf};

    #[test]
    fn a_file_that_is_not_there_is_named_in_nuts_words() {
        let error = read(Path::new("/no/such/upsmon.conf")).unwrap_err();
        assert_eq!(error, "can't open /no/such/upsmon.conf: No such file or directory");
        assert!(read(Path::new("/")).unwrap_err().starts_with("can't open /: "));
        let whose = why_denied(Path::new("/"));
        assert!(whose.starts_with(" (owner root, group ") && whose.contains("; we are user "), "{whose}");
    }

    #[test]
    fn a_finding_fits_into_one_line_of_the_log_and_shows_no_password() {
        let text = b"MONITOR apc@localhost 1 upsmon s3cret\n";
        let (_, findings) = upsmon_conf::parse(Source { path: "/x/upsmon.conf", text });
        let line = findings.iter().map(in_one_line).find(|line| line.contains("5 words")).unwrap();
        assert!(line.starts_with("/x/upsmon.conf:1"), "{line}");
        assert!(!line.contains('\n') && !line.contains("s3cret"), "{line}");
    }
}
