//! What `upsd.conf` says in both eras, and what is said of it.

use super::*;
use crate::testing::{bad, every_example_is_understood, good, read, shown};
use proptest::prelude::*;

#[test]
fn every_row_is_read() {
    every_example_is_understood(
        parse,
        TABLE,
        "ACL localhost 127.0.0.1/32\nACL all 0.0.0.0/0\nACCEPT localhost\n",
    );
}

#[test]
fn todays_directives() {
    let text = "MAXAGE 20\nTRACKINGDELAY 60\nALLOW_NO_DEVICE yes\nALLOW_NOT_ALL_LISTENERS 2\nMAXCONN 100\n\
        STATEPATH /run/nut\nDATAPATH /usr/share/nut\nLISTEN 127.0.0.1 3493\nLISTEN ::1\nLISTEN * nut\nLISTEN ups-host.example 23\nDEBUG_MIN 6\n";
    let conf = good(parse, text);
    let listen = |address: &str, port, line| Listen {
        address: address.to_owned(),
        port,
        at: crate::Span { line, column: 1 },
    };
    let expected = UpsdConf {
        max_age: Duration::from_secs(20),
        tracking_delay: Duration::from_secs(60),
        allow_no_device: true,
        allow_not_all_listeners: Some(true),
        max_connections: Some(100),
        state_path: Some("/run/nut".into()),
        data_path: Some("/usr/share/nut".into()),
        listen: vec![
            listen("127.0.0.1", 3493, 8),
            listen("::1", 3493, 9),
            listen("*", 3493, 10),
            listen("ups-host.example", 23, 11),
        ],
        debug_min: Some(6),
        ..UpsdConf::default()
    };
    assert_eq!(conf, expected);
}

#[test]
fn values_that_cannot_be_used() {
    let cases = [
        ("MAXAGE", "1:1 warning MAXAGE takes 1 word, found 0"),
        ("MAXAGE = 15", "1:8 warning MAXAGE takes no equals sign"),
        ("MAXAGE x", "1:8 warning MAXAGE has non numeric value (\"x\")!"),
        ("MAXAGE -1", "1:8 warning MAXAGE has non numeric value (\"-1\")!"),
        ("TRACKINGDELAY never", "1:15 warning TRACKINGDELAY has non numeric value (\"never\")!"),
        ("MAXCONN many", "1:9 warning MAXCONN has non numeric value (\"many\")!"),
        ("ALLOW_NO_DEVICE maybe", "1:17 warning ALLOW_NO_DEVICE takes true or false, found \"maybe\""),
        ("maxage 15", "1:1 warning unknown directive \"maxage\""),
        ("LISTEN", "1:1 warning LISTEN takes 1 word, found 0"),
        ("LISTEN [::1]", "1:8 error \"[::1]\" is no address or host name"),
        ("LISTEN 10.0.0.1:3493", "1:8 error \"10.0.0.1:3493\" is no address or host name"),
        ("LISTEN = 10.0.0.1", "1:8 warning LISTEN takes no equals sign"),
        ("LISTEN 10.0.0.1 99999", "1:17 error \"99999\" is no port"),
        ("LISTEN 10.0.0.1 http", "1:17 error \"http\" is no port"),
        ("LISTEN 10.0.0.1 +23", "1:17 error \"+23\" is no port"),
        ("DEBUG_MIN -1", "1:11 warning DEBUG_MIN cannot be less than 0, found -1"),
    ];
    for (line, expected) in cases {
        let (conf, found) = bad(parse, line);
        assert_eq!((conf, found), (UpsdConf::default(), vec![expected.to_owned()]), "{line}");
    }
    let (conf, found) = bad(parse, "MAXAGE 15abc\nMAXCONN 0\nLISTEN fe80::1%eth0 0\n");
    assert_eq!((conf.max_age, conf.max_connections), (Duration::from_secs(15), None));
    assert_eq!(
        conf.listen.first().map(|listen| (listen.address.as_str(), listen.port)),
        Some(("fe80::1%eth0", 0))
    );
    assert_eq!(
        found,
        [
            "1:8 warning \"15abc\" is no number; 15 is",
            "3:21 note port 0 is whichever port happens to be free"
        ]
    );
}

#[test]
fn blocks_of_addresses() {
    let v4 = |a: &str, m: &str| Ok(NetBlock { address: a.parse().unwrap(), mask: m.parse().unwrap() });
    let cases: [(&str, Result<NetBlock, NetBlockError>); 19] = [
        ("127.0.0.1/32", v4("127.0.0.1", "255.255.255.255")),
        ("192.168.0.0/24", v4("192.168.0.0", "255.255.255.0")),
        ("192.168.0.77/24", v4("192.168.0.77", "255.255.255.0")),
        ("0.0.0.0/0", v4("0.0.0.0", "0.0.0.0")),
        ("10.0.0.0/1", v4("10.0.0.0", "128.0.0.0")),
        ("0.0.0.0/0.0.0.0", v4("0.0.0.0", "0.0.0.0")),
        ("10.0.0.1/255.0.0.255", v4("10.0.0.1", "255.0.0.255")),
        ("::1/128", v4("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        ("fe80::/10", v4("fe80::", "ffc0::")),
        ("::/0", v4("::", "::")),
        ("::ffff:192.168.1.0/120", v4("::ffff:192.168.1.0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff00")),
        ("127.0.0.1", Err(NetBlockError::NoMask)),
        ("127.0.0.1/33", Err(NetBlockError::Mask)),
        ("127.0.0.1/-1", Err(NetBlockError::Mask)),
        ("127.0.0.1/", Err(NetBlockError::Mask)),
        ("127.0.0.1/x", Err(NetBlockError::Mask)),
        ("::1/129", Err(NetBlockError::Mask)),
        ("::1/255.255.255.0", Err(NetBlockError::Mask)),
        ("localhost/32", Err(NetBlockError::Address)),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<NetBlock>(), expected, "{text}");
    }
}

#[test]
fn access_in_the_manner_of_2_0() {
    let conf = good(
        parse,
        "ACCEPT late\nACL localhost 127.0.0.1/32\nACL late 10.0.0.0/8\nACL late fd00::/8\nACL all 0.0.0.0/0\nACCEPT localhost late\nREJECT all\n",
    );
    assert!(conf.has_access_rules());
    assert_eq!(
        conf.acls.iter().map(|acl| acl.name.as_str()).collect::<Vec<_>>(),
        ["localhost", "late", "late", "all"]
    );
    let rules: Vec<_> = conf.access.iter().map(|rule| (rule.verdict, rule.acl.as_str())).collect();
    assert_eq!(
        rules,
        [
            (Access::Accept, "late"),
            (Access::Accept, "localhost"),
            (Access::Accept, "late"),
            (Access::Reject, "all")
        ]
    );
    assert!(!good(parse, "LISTEN 127.0.0.1\n").has_access_rules());
}

#[test]
fn access_that_does_not_read_as_it_is_used() {
    let cases: [(&str, &[&str]); 7] = [
        (
            "ACL lan 10.0.0.1\nACCEPT lan",
            &[
                "1:9 error \"10.0.0.1\" is no block of addresses: it has no /mask; /32 is one IPv4 address, /128 one IPv6 address",
                "2:8 warning no ACL is called \"lan\"",
            ],
        ),
        ("ACL lan 10.0.0.0/8 x\nACCEPT lan", &["1:20 warning ACL takes 2 words, found 3"]),
        (
            "ACL lan\nACCEPT lan",
            &["1:1 error ACL takes 2 words, found 1", "2:8 warning no ACL is called \"lan\""],
        ),
        ("ACL lan 10.0.0.0/8\nACCEPT Lan", &["2:8 warning no ACL is called \"Lan\""]),
        ("ACL lan 10.0.0.0/8\n", &["1:1 warning the file has no ACCEPT"]),
        ("REJECT all\n", &["1:1 warning the file has no ACCEPT", "1:8 warning no ACL is called \"all\""]),
        ("ACCEPT\n", &["1:1 warning ACCEPT takes 1 word, found 0", "1:1 warning the file has no ACCEPT"]),
    ];
    for (text, expected) in cases {
        assert_eq!(bad(parse, text).1, expected, "{text}");
    }
}

#[test]
fn an_acl_that_cannot_be_used_does_not_open_the_server() {
    let (conf, _) = parse(Source { path: "upsd.conf", text: b"ACL localhost 127.0.0.1/what\n" });
    assert!(conf.acls.is_empty() && conf.has_access_rules());
    assert!(!parse(Source { path: "upsd.conf", text: b"MAXAGE 15\n" }).0.has_access_rules());
}

#[test]
fn an_access_line_that_is_misspelt_or_broken_does_not_open_the_server() {
    for line in ["acl all 0.0.0.0/0", "Accept localhost", "REJCT all", "  REJECT \"all", "ACL \"a#b\" ::/0"] {
        let (conf, found) = read(parse, format!("LISTEN 0.0.0.0\n{line}\n"));
        assert!(conf.has_access_rules(), "{line}");
        assert!(shown(&found).contains("nobody is admitted but by ACCEPT"), "{line}\n{}", shown(&found));
    }
    for line in ["# ACL all 0.0.0.0/0", "MAXAGE 15 # REJECT all", "LISTEN ::1"] {
        assert!(!read(parse, line).0.has_access_rules(), "{line}");
    }
    assert!(read(parse, "\u{feff}acl all 0.0.0.0/0\n").0.has_access_rules());
}

#[test]
fn an_old_access_line_has_no_effect_and_shows_no_password() {
    for line in ["ACCESS grant master localhost hush", "ACCESS grant master hush"] {
        let (conf, found) = read(parse, line);
        assert_eq!(conf, UpsdConf::default());
        assert_eq!(found.len(), 1);
        assert!(!shown(&found).contains("hush"), "{}", shown(&found));
    }
}

#[test]
fn tls_is_kept_as_written() {
    let (conf, found) = read(
        parse,
        "CERTFILE /f\nCERTPATH /p\nCERTIDENT name hush\nCERTREQUEST REQUIRE\nDISABLE_WEAK_SSL true\n",
    );
    assert_eq!((conf.tls.cert_file.as_deref(), conf.tls.cert_path.as_deref()), (Some("/f"), Some("/p")));
    assert_eq!(
        conf.tls.cert_ident.as_ref().map(|(name, key)| (name.as_str(), key.reveal())),
        Some(("name", "hush"))
    );
    assert_eq!((conf.tls.cert_request, conf.tls.disable_weak_ssl), (Some(2), true));
    assert_eq!(shown(&found), "");
    for (line, expected) in
        [("NO", Some(0)), ("REQUEST", Some(1)), ("2", Some(2)), ("3", None), ("require", None)]
    {
        assert_eq!(read(parse, format!("CERTREQUEST {line}\n")).0.tls.cert_request, expected, "{line}");
    }
    let (conf, found) = bad(parse, "DISABLE_WEAK_SSL 2\nCERTIDENT name\n");
    assert_eq!(conf.tls, Tls::default());
    assert_eq!(found.iter().filter(|one| one.contains("warning")).count(), 2);
}

proptest! {
    #[test]
    fn no_bytes_make_it_stumble(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(parse, &text);
    }

    #[test]
    fn no_near_miss_makes_it_stumble(text in "((ACL|ACCEPT|REJECT|LISTEN|MAXAGE|CERTREQUEST|MAXCONN)[ a-z0-9.:/=\"#\\[\\]-]{0,40}\n){0,6}") {
        let _ = read(parse, &text);
    }

    #[test]
    fn a_block_written_with_bits_is_the_same_with_a_mask(address in any::<u32>(), bits in 0u32..=32) {
        let address = Ipv4Addr::from(address);
        let block: NetBlock = format!("{address}/{bits}").parse().unwrap();
        prop_assert_eq!(format!("{address}/{}", block.mask).parse::<NetBlock>(), Ok(block));
        let IpAddr::V4(mask) = block.mask else { panic!() };
        prop_assert_eq!(u32::from(mask).count_ones(), bits);
        prop_assert_eq!(u32::from(mask).leading_ones(), bits);
    }

    #[test]
    fn a_broken_line_costs_itself(at in 0usize..5, broken in "LISTEN \\[x|MAXAGE x|\"|DATAPATH \"/x|ACL a b|STATEPATH \"#\"|WHAT = IS|é") {
        let lines = ["LISTEN 10.0.0.1 1", "# no \"", "ACL a 10.0.0.0/8", "ACCEPT a", "MAXAGE 7"];
        let (mut expected, _) = read(parse, lines.map(|line| format!("{line}\n")).concat());
        let mut with: Vec<&str> = lines.to_vec();
        with.insert(at, &broken);
        let (mut conf, found) = read(parse, with.join("\n"));
        for listen in expected.listen.iter_mut().chain(&mut conf.listen) {
            listen.at = crate::Span::default();
        }
        prop_assert_eq!(conf, expected);
        prop_assert!(found.iter().any(|one| one.severity > Severity::Note));
    }
}
