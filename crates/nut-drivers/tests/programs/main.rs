//! The programs themselves, as built: drivers and `upsdrvctl` in private directories, with real sockets and
//! pseudo-terminals.

#[cfg(test)]
mod alerts;
#[cfg(test)]
mod apcsmart;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod ctl;
#[cfg(test)]
mod dummy;
#[cfg(test)]
mod framework;
#[cfg(test)]
mod stage;
