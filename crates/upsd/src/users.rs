//! `upsd.users`: who may do what (upsd §4).

use crate::access::Access;
use core::net::IpAddr;
use nut_conf::upsd_users::{Commands, UpsdUsers, User};
use nut_proto::names::UserName;
use std::collections::HashMap;

/// What somebody wants to do, and needs a user for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed<'a> {
    /// `LOGIN`.
    Login,
    /// `PRIMARY` or `MASTER`: either action allows either word.
    Primary,
    /// `FSD`.
    Fsd,
    /// `SET VAR`.
    Set,
    /// `INSTCMD` of this command.
    Command(&'a str),
}

/// Whoever says who he is.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The name he gave.
    pub user: &'a UserName,
    /// The password he gave.
    pub password: &'a str,
    /// Where he is.
    pub from: IpAddr,
}

/// The users of one configuration.
#[derive(Debug, Clone, Default)]
pub struct Users {
    by_name: HashMap<UserName, User>,
}

impl Users {
    /// The users that `upsd.users` holds. Of several with one name the first that has a password counts.
    #[must_use]
    pub fn new(conf: &UpsdUsers) -> Self {
        let mut by_name = HashMap::new();
        // Without a password one can do nothing, and is passed over.
        for user in conf.users.iter().filter(|user| user.password.is_some()) {
            by_name.entry(user.name.clone()).or_insert_with(|| user.clone());
        }
        Self { by_name }
    }

    /// Whether he is who he says and may do that.
    ///
    /// `allowfrom` counts only under a configuration of NUT 2.0's kind, where a user without it may do nothing; NUT
    /// 2.4 and later ignore it. NUT 2.0 lets anybody `LOGIN`; we ask for the right to, as NUT 2.4.2 does, and for the
    /// right place if `allowfrom` names one.
    #[must_use]
    pub fn may(&self, claim: &Claim<'_>, deed: Deed<'_>, access: &Access) -> bool {
        let Some(user) = self.by_name.get(claim.user) else { return false };
        if !user.password.as_ref().is_some_and(|password| password.is(claim.password)) {
            return false;
        }
        if access.is_in_force() {
            let from_there = match &user.allow_from {
                Some(acls) => access.is_in(acls, claim.from),
                None => deed == Deed::Login,
            };
            if !from_there {
                return false;
            }
        }
        match deed {
            Deed::Login => has_action(user, "LOGIN"),
            Deed::Primary => has_action(user, "PRIMARY") || has_action(user, "MASTER"),
            Deed::Fsd => has_action(user, "FSD"),
            Deed::Set => has_action(user, "SET"),
            Deed::Command(name) => match &user.commands {
                Commands::All => true,
                Commands::These(names) => names.iter().any(|one| one.eq_ignore_ascii_case(name)),
            },
        }
    }
}

fn has_action(user: &User, action: &str) -> bool {
    user.actions.iter().any(|one| one.eq_ignore_ascii_case(action))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_conf::upsd_conf::{Acl, NetBlock, UpsdConf};
    use nut_proto::names::Secret;

    fn user(name: &str, password: Option<&str>, actions: &[&str]) -> User {
        User {
            name: UserName::new(name),
            password: password.map(Secret::new),
            actions: actions.iter().map(ToString::to_string).collect(),
            commands: Commands::default(),
            allow_from: None,
        }
    }

    fn users(list: &[User]) -> Users {
        Users::new(&UpsdUsers { users: list.to_vec() })
    }

    fn may(users: &Users, name: &str, password: &str, deed: Deed<'_>, access: &Access) -> bool {
        let from = IpAddr::from([192, 168, 0, 5]);
        users.may(&Claim { user: &UserName::new(name), password, from }, deed, access)
    }

    const DEEDS: [Deed<'_>; 5] =
        [Deed::Login, Deed::Primary, Deed::Fsd, Deed::Set, Deed::Command("load.off")];

    #[test]
    fn a_right_is_needed_for_each_deed_and_implies_no_other() {
        let table = [
            (&["LOGIN"][..], [true, false, false, false, false]),
            (&["LOGIN", "PRIMARY", "FSD"], [true, true, true, false, false]),
            (&["MASTER"], [false, true, false, false, false]),
            (&["set", "fsd"], [false, false, true, true, false]),
            (&[], [false; 5]),
        ];
        for (actions, expected) in table {
            let users = users(&[user("u", Some("p"), actions)]);
            let seen = DEEDS.map(|deed| may(&users, "u", "p", deed, &Access::default()));
            assert_eq!(seen, expected, "{actions:?}");
            assert_eq!(DEEDS.map(|deed| may(&users, "u", "P", deed, &Access::default())), [false; 5]);
            assert_eq!(DEEDS.map(|deed| may(&users, "U", "p", deed, &Access::default())), [false; 5]);
        }
    }

    #[test]
    fn commands_are_those_named_or_all() {
        let mut some = user("some", Some("p"), &[]);
        some.commands = Commands::These(vec!["Test.Panel.Start".into()]);
        let mut all = user("all", Some("p"), &[]);
        all.commands = Commands::All;
        let users = users(&[some, all]);
        let access = Access::default();
        assert!(may(&users, "some", "p", Deed::Command("test.panel.START"), &access));
        assert!(!may(&users, "some", "p", Deed::Command("load.off"), &access));
        assert!(may(&users, "all", "p", Deed::Command("load.off"), &access));
        assert!(!may(&users, "all", "p", Deed::Set, &access));
    }

    #[test]
    fn no_password_no_right_and_the_next_of_the_name_counts() {
        let users = users(&[user("u", None, &["SET"]), user("u", Some(""), &["FSD"])]);
        assert!(!may(&users, "u", "", Deed::Set, &Access::default()));
        assert!(may(&users, "u", "", Deed::Fsd, &Access::default()));
    }

    #[test]
    fn allowfrom_counts_under_a_configuration_of_the_old_kind_only() {
        let mut conf = UpsdConf::default();
        let address = IpAddr::from([192, 168, 0, 0]);
        let block = NetBlock { address, mask: IpAddr::from([255, 255, 255, 0]) };
        conf.acls.push(Acl { name: "myservers".into(), block });
        let old = Access::new(&conf);
        let with = |allow_from: Option<&[&str]>| {
            let mut user = user("u", Some("p"), &["LOGIN", "MASTER", "SET"]);
            user.allow_from = allow_from.map(|names| names.iter().map(ToString::to_string).collect());
            users(&[user])
        };
        let deeds = [Deed::Login, Deed::Primary, Deed::Set];
        for (allow_from, under_old) in [
            (Some(&["myservers"][..]), [true, true, true]),
            (Some(&["nowhere", "myservers"]), [true, true, true]),
            (Some(&["nowhere"]), [false, false, false]),
            (Some(&[]), [false, false, false]),
            (None, [true, false, false]),
        ] {
            let users = with(allow_from);
            assert_eq!(deeds.map(|deed| may(&users, "u", "p", deed, &old)), under_old, "{allow_from:?}");
            assert_eq!(deeds.map(|deed| may(&users, "u", "p", deed, &Access::default())), [true; 3]);
        }
    }
}
