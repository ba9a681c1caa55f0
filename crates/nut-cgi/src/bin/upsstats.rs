//! `upsstats.cgi`: what UPSes say, as a web page.

fn main() -> std::process::ExitCode {
    nut_cgi::shell::upsstats()
}
