//! `upsd.users`: who may do what (upsd §4).

use crate::access::Access;
use core::net::IpAddr;
use nut_conf::upsd_users::{Commands, Password, PasswordHash, UpsdUsers, User};
use nut_proto::names::{Secret, UserName};
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

/// The state of a user's password: another after each reload that changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp(u64);

/// Whether a connection has proven that it is its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proof {
    /// Not yet.
    #[default]
    None,
    /// It has, while the user's password was this.
    Right(Stamp),
    /// Its password was wrong, while the user's was this.
    Wrong(Stamp),
}

/// Whoever says who he is.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The name he gave.
    pub user: &'a UserName,
    /// Whether he is.
    pub proof: Proof,
    /// Where he is.
    pub from: IpAddr,
}

/// Why somebody may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// His password has not been checked.
    Unproven,
    /// There is no such user.
    Unknown,
    /// The password is another.
    Password,
    /// Not from there.
    Place,
    /// The user has no right to it.
    Right,
}

/// What a glance at a password says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weighed {
    /// Whether it is right.
    Known(bool),
    /// It is right if this hash fits, and if there is such a user.
    Ask(PasswordHash),
}

/// The users of one configuration.
#[derive(Debug, Clone, Default)]
pub struct Users {
    by_name: HashMap<UserName, Entry>,
    /// What names that nobody has are checked against.
    stand_in: Option<PasswordHash>,
    /// What is known of them.
    of_strangers: Stamp,
    /// The last stamp that was given.
    last: Stamp,
}

#[derive(Debug, Clone)]
struct Entry {
    user: User,
    password: Password,
    stamp: Stamp,
}

impl Users {
    /// The users that `upsd.users` holds. Of several with one name the first that has a password counts.
    #[must_use]
    pub fn new(conf: &UpsdUsers) -> Self {
        Self::default().followed_by(conf)
    }

    /// The users that `upsd.users` holds now. What was proven of a user holds on if his password is still the same.
    #[must_use]
    pub fn followed_by(&self, conf: &UpsdUsers) -> Self {
        let mut last = self.last;
        let mut next = || {
            last = Stamp(last.0.wrapping_add(1));
            last
        };
        let of_strangers = next();
        let mut by_name = HashMap::new();
        let mut stand_in = None;
        for user in &conf.users {
            // Without a password one can do nothing, and is passed over.
            let Some(password) = &user.password else { continue };
            if let (None, Password::Hashed(hash)) = (&stand_in, password) {
                stand_in = Some(hash.clone());
            }
            by_name.entry(user.name.clone()).or_insert_with(|| {
                let before = self.by_name.get(&user.name).filter(|before| before.password == *password);
                let stamp = before.map_or_else(&mut next, |before| before.stamp);
                Entry { user: user.clone(), password: password.clone(), stamp }
            });
        }
        Self { by_name, stand_in, of_strangers, last }
    }

    /// Whether there is such a user.
    #[must_use]
    pub fn knows(&self, name: &UserName) -> bool {
        self.by_name.contains_key(name)
    }

    /// What a proof of his would be about.
    #[must_use]
    pub fn stamp(&self, name: &UserName) -> Stamp {
        self.by_name.get(name).map_or(self.of_strangers, |entry| entry.stamp)
    }

    /// Whether the password is his, as far as that can be said at once.
    ///
    /// A name that nobody has takes as long as one whose password is hashed: who guesses names learns nothing. (Where
    /// all passwords are plain, both are known at once.)
    #[must_use]
    pub fn weigh(&self, name: &UserName, password: &Secret) -> Weighed {
        match (self.by_name.get(name).map(|entry| &entry.password), &self.stand_in) {
            (Some(Password::Plain(right)), _) => Weighed::Known(right.is(password.reveal())),
            (Some(Password::Hashed(hash)), _) | (None, Some(hash)) => Weighed::Ask(hash.clone()),
            (None, None) => {
                // Compared with something all the same, for the time it takes.
                let _ = Secret::new("").is(password.reveal());
                Weighed::Known(false)
            }
        }
    }

    /// Whether he is who he says and may do that.
    ///
    /// `allowfrom` counts only under a configuration of NUT 2.0's kind, where a user without it may do nothing; NUT
    /// 2.4 and later ignore it. NUT 2.0 lets anybody `LOGIN`; we ask for the right to, as NUT 2.4.2 does, and for the
    /// right place if `allowfrom` names one.
    ///
    /// # Errors
    /// Why not. [`Denial::Unproven`] comes before all that would tell a stranger something.
    pub fn may(&self, claim: &Claim<'_>, deed: Deed<'_>, access: &Access) -> Result<(), Denial> {
        let stamp = self.stamp(claim.user);
        let is_right = match claim.proof {
            Proof::Right(of) if of == stamp => true,
            Proof::Wrong(of) if of == stamp => false,
            Proof::None | Proof::Right(_) | Proof::Wrong(_) => return Err(Denial::Unproven),
        };
        let user = &self.by_name.get(claim.user).ok_or(Denial::Unknown)?.user;
        if !is_right {
            return Err(Denial::Password);
        }
        if access.is_in_force() {
            let from_there = match &user.allow_from {
                Some(acls) => access.is_in(acls, claim.from),
                None => deed == Deed::Login,
            };
            if !from_there {
                return Err(Denial::Place);
            }
        }
        let has_right = match deed {
            Deed::Login => has_action(user, "LOGIN"),
            Deed::Primary => has_action(user, "PRIMARY") || has_action(user, "MASTER"),
            Deed::Fsd => has_action(user, "FSD"),
            Deed::Set => has_action(user, "SET"),
            Deed::Command(name) => match &user.commands {
                Commands::All => true,
                Commands::These(names) => names.iter().any(|one| one.eq_ignore_ascii_case(name)),
            },
        };
        has_right.then_some(()).ok_or(Denial::Right)
    }
}

fn has_action(user: &User, action: &str) -> bool {
    user.actions.iter().any(|one| one.eq_ignore_ascii_case(action))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_conf::upsd_conf::{Acl, NetBlock, UpsdConf};

    fn user(name: &str, password: Option<&str>, actions: &[&str]) -> User {
        User {
            name: UserName::new(name),
            password: password.map(|word| Password::Plain(Secret::new(word))),
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
        let name = UserName::new(name);
        let Weighed::Known(right) = users.weigh(&name, &Secret::new(password)) else { panic!("no hash") };
        let stamp = users.stamp(&name);
        let proof = if right { Proof::Right(stamp) } else { Proof::Wrong(stamp) };
        users.may(&Claim { user: &name, proof, from }, deed, access).is_ok()
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
    fn what_was_proven_holds_until_the_password_changes() {
        let name = UserName::new("u");
        let before = users(&[user("u", Some("p"), &["SET"]), user("v", Some("q"), &["SET"])]);
        let claim = |users: &Users| Claim {
            user: &name,
            proof: Proof::Right(users.stamp(&name)),
            from: IpAddr::from([192, 168, 0, 5]),
        };
        let may = |users: &Users, claim: &Claim<'_>| users.may(claim, Deed::Set, &Access::default());
        let proven = claim(&before);
        assert_eq!(may(&before, &proven), Ok(()));
        let after = |list: &[User]| before.followed_by(&UpsdUsers { users: list.to_vec() });
        // Another user, other rights, another place in the file: the password is what was proven.
        assert_eq!(may(&after(&[user("u", Some("p"), &["SET"])]), &proven), Ok(()));
        assert_eq!(
            may(&after(&[user("w", Some("x"), &[]), user("u", Some("p"), &[])]), &proven),
            Err(Denial::Right)
        );
        let changed = after(&[user("u", Some("P"), &["SET"])]);
        assert_eq!(may(&changed, &proven), Err(Denial::Unproven));
        assert_eq!(may(&after(&[user("v", Some("q"), &["SET"])]), &proven), Err(Denial::Unproven));
        // Changed back: what was proven of the first is not believed again.
        let back = changed.followed_by(&UpsdUsers { users: vec![user("u", Some("p"), &["SET"])] });
        assert_eq!(may(&back, &proven), Err(Denial::Unproven));
        assert_eq!(may(&back, &Claim { proof: Proof::None, ..proven }), Err(Denial::Unproven));
    }

    #[test]
    fn a_name_that_nobody_has_costs_as_much_as_one_with_a_hash() {
        let hash: PasswordHash =
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
        let hashed = User { password: Some(Password::Hashed(hash.clone())), ..user("h", None, &[]) };
        let users = users(&[user("plain", Some("p"), &[]), hashed]);
        let weigh = |name: &str| users.weigh(&UserName::new(name), &Secret::new("p"));
        assert_eq!(weigh("h"), Weighed::Ask(hash.clone()));
        assert_eq!(weigh("nobody"), Weighed::Ask(hash));
        assert_eq!(weigh("plain"), Weighed::Known(true));
        assert!(users.knows(&UserName::new("h")) && !users.knows(&UserName::new("nobody")));
        assert_eq!(Users::default().weigh(&UserName::new("nobody"), &Secret::new("")), Weighed::Known(false));
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
