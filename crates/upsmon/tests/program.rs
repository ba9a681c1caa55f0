//! The real program, with small servers of the test's own. Nothing is ever really shut down: `SHUTDOWNCMD` is a script.

#[cfg(test)]
mod program {
    pub(crate) mod attacks;
    pub(crate) mod explain;
    pub(crate) mod files;
    pub(crate) mod halves;
    pub(crate) mod notices;
    pub(crate) mod orders;
    mod rules;
    pub(crate) mod stage;
    pub(crate) mod surroundings;
    pub(crate) mod system_log;
    pub(crate) mod upsd;
}
