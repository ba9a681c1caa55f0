//! The tools as programs, against a scripted server.

// `cfg(test)` is always true here; it tells clippy that these modules are tests through and through.
#[cfg(test)]
mod server;
#[cfg(test)]
mod upsc;
#[cfg(test)]
mod upscmd;
#[cfg(test)]
mod upsrw;
