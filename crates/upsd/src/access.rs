//! `ACL`, `ACCEPT`, `REJECT`: which address may come in (upsd §3).
//!
//! As soon as the file has one of these lines, nobody is admitted but by an `ACCEPT`: the first entry whose ACL holds
//! the address decides, and no match is a refusal. Without any, everybody may come and read, as in NUT 2.4 and later.

use core::net::{IpAddr, Ipv6Addr};
use nut_conf::upsd_conf::{Access as Verdict, NetBlock, UpsdConf};
use std::collections::HashMap;

/// The rules of one configuration.
#[derive(Debug, Clone, Default)]
pub struct Access {
    acls: HashMap<String, Vec<NetBlock>>,
    rules: Vec<(Verdict, Vec<NetBlock>)>,
    in_force: bool,
}

impl Access {
    /// The rules that `upsd.conf` holds.
    #[must_use]
    pub fn new(conf: &UpsdConf) -> Self {
        let mut acls: HashMap<String, Vec<NetBlock>> = HashMap::new();
        for acl in &conf.acls {
            acls.entry(acl.name.clone()).or_default().push(acl.block);
        }
        // An ACL that is named but nowhere defined holds no address.
        let blocks = |name: &String| acls.get(name).cloned().unwrap_or_default();
        let rules = conf.access.iter().map(|rule| (rule.verdict, blocks(&rule.acl))).collect();
        Self { acls, rules, in_force: conf.has_access_rules() }
    }

    /// Whether there are rules at all, that is whether the configuration is of NUT 2.0's kind.
    #[must_use]
    pub fn is_in_force(&self) -> bool {
        self.in_force
    }

    /// Whether this address may come in.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        if !self.in_force {
            return true;
        }
        let decided = self.rules.iter().find(|(_, blocks)| holds(blocks, address));
        decided.is_some_and(|(verdict, _)| *verdict == Verdict::Accept)
    }

    /// Whether one of these ACLs holds this address.
    #[must_use]
    pub fn is_in(&self, names: &[String], address: IpAddr) -> bool {
        names.iter().filter_map(|name| self.acls.get(name)).any(|blocks| holds(blocks, address))
    }
}

fn holds(blocks: &[NetBlock], address: IpAddr) -> bool {
    blocks.iter().any(|block| in_block(*block, address))
}

/// Whether the block holds the address. An IPv4 address written as IPv6 (`::ffff:192.0.2.1`), on either side, is that
/// IPv4 address; apart from that the families do not mix.
fn in_block(block: NetBlock, address: IpAddr) -> bool {
    match (block.address, block.mask, address.to_canonical()) {
        (IpAddr::V4(base), IpAddr::V4(mask), IpAddr::V4(address)) => {
            base.to_bits() & mask.to_bits() == address.to_bits() & mask.to_bits()
        }
        (IpAddr::V6(base), IpAddr::V6(mask), IpAddr::V6(address)) => same(base, address, mask),
        (IpAddr::V6(base), IpAddr::V6(mask), IpAddr::V4(address)) => {
            // Only a block that lies within the mapped addresses means IPv4; `::/0` means IPv6.
            let within = mask.to_bits() >> 32 == u128::MAX >> 32;
            within && same(base, address.to_ipv6_mapped(), mask)
        }
        _ => false,
    }
}

fn same(base: Ipv6Addr, address: Ipv6Addr, mask: Ipv6Addr) -> bool {
    base.to_bits() & mask.to_bits() == address.to_bits() & mask.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_conf::upsd_conf::{AccessRule, Acl};

    fn block(text: &str) -> NetBlock {
        let (address, prefix) = text.split_once('/').unwrap();
        let address: IpAddr = address.parse().unwrap();
        let mask = match (address, prefix.parse::<u32>()) {
            (IpAddr::V4(_), Ok(bits)) => IpAddr::V4(u32::MAX.checked_shl(32 - bits).unwrap_or(0).into()),
            (IpAddr::V6(_), Ok(bits)) => IpAddr::V6(u128::MAX.checked_shl(128 - bits).unwrap_or(0).into()),
            (_, Err(_)) => prefix.parse().unwrap(),
        };
        NetBlock { address, mask }
    }

    /// `ACL` as `name=block`, then `+acl` for ACCEPT, `-acl` for REJECT.
    fn access(lines: &str) -> Access {
        let mut conf = UpsdConf::default();
        for word in lines.split_whitespace() {
            if let Some(acl) = word.strip_prefix('+') {
                conf.access.push(AccessRule { verdict: Verdict::Accept, acl: acl.into() });
            } else if let Some(acl) = word.strip_prefix('-') {
                conf.access.push(AccessRule { verdict: Verdict::Reject, acl: acl.into() });
            } else {
                let (name, text) = word.split_once('=').unwrap();
                conf.acls.push(Acl { name: name.into(), block: block(text) });
            }
        }
        Access::new(&conf)
    }

    #[test]
    fn who_comes_in() {
        let school =
            "localhost=127.0.0.1/32 all=0.0.0.0/0 myservers=192.168.0.0/24 +localhost +myservers -all";
        let cases = [
            // Nothing said: everybody.
            ("", "198.51.100.7", true),
            ("", "2001:db8::1", true),
            // The school's file.
            (school, "127.0.0.1", true),
            (school, "192.168.0.17", true),
            (school, "192.168.1.17", false),
            (school, "127.0.0.3", false),
            (school, "::1", false),
            (school, "::ffff:192.168.0.17", true),
            (school, "::ffff:192.168.1.17", false),
            // Any such line: no match is a refusal.
            ("a=10.0.0.0/8", "10.0.0.1", false),
            ("a=10.0.0.0/8 +a", "10.0.0.1", true),
            ("a=10.0.0.0/8 +a", "11.0.0.1", false),
            ("-nobody", "10.0.0.1", false),
            ("+undefined", "10.0.0.1", false),
            // The first that matches decides, not the narrowest.
            ("all=0.0.0.0/0 one=10.0.0.1/32 +all -one", "10.0.0.1", true),
            ("all=0.0.0.0/0 one=10.0.0.1/32 -one +all", "10.0.0.1", false),
            // A name of several blocks; names with case; defined after its use.
            ("a=10.0.0.0/8 a=11.0.0.0/8 +a", "11.0.0.1", true),
            ("A=10.0.0.0/8 +a", "10.0.0.1", false),
            ("+a a=10.0.0.0/8", "10.0.0.1", true),
            // Host bits do not count, dotted masks of any pattern.
            ("a=192.168.0.77/24 +a", "192.168.0.1", true),
            ("a=192.168.0.0/255.255.255.0 +a", "192.168.0.200", true),
            ("a=10.0.0.1/255.0.0.255 +a", "10.9.9.1", true),
            ("a=10.0.0.1/255.0.0.255 +a", "10.9.9.2", false),
            // IPv6, and never one family by the other's rule.
            ("a=2001:db8::/32 +a", "2001:db8:1::9", true),
            ("a=2001:db8::/32 +a", "2001:db9::9", false),
            ("a=::1/128 +a", "::1", true),
            ("a=::1/128 +a", "10.0.0.1", false),
            ("a=::/0 +a", "10.0.0.1", false),
            ("a=::/0 +a", "::ffff:10.0.0.1", false),
            ("a=0.0.0.0/0 +a", "2001:db8::1", false),
            ("a=::ffff:192.168.1.0/120 +a", "192.168.1.5", true),
            ("a=::ffff:192.168.1.0/120 +a", "::ffff:192.168.1.5", true),
            ("a=::ffff:192.168.1.0/120 +a", "192.168.2.5", false),
            ("a=::ffff:0.0.0.0/96 +a", "8.8.8.8", true),
        ];
        for (lines, address, expected) in cases {
            assert_eq!(access(lines).admits(address.parse().unwrap()), expected, "{lines} {address}");
        }
    }

    #[test]
    fn allowfrom_names_acls_and_any_of_them_will_do() {
        let access = access("a=10.0.0.0/8 b=11.0.0.0/8");
        let names = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let from = |text| -> IpAddr { str::parse(text).unwrap() };
        assert!(access.is_in(&names("a b"), from("11.1.1.1")));
        assert!(!access.is_in(&names("a"), from("11.1.1.1")));
        assert!(!access.is_in(&names("nowhere"), from("11.1.1.1")));
        assert!(!access.is_in(&[], from("11.1.1.1")));
    }
}
